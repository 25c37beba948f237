/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/token.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/io.h"
#include "base/str.h"

#define FILE_BYTES_MAX ((size_t)DMN_TOKENS_MAX * 256)
#define HASH_DIGITS    ((size_t)BTH_SHA256_BYTES * 2)
#define TOKEN_BYTES    32u
#define SCHEME         "Bearer "

struct entry {
        struct dmn_token token;
        uint8_t hash[BTH_SHA256_BYTES];
};

struct dmn_tokens {
        struct entry *entries;
        size_t n;
};

/* -- the file
 * ----------------------------------------------------------------------------------------- */

static bool name_allowed(const char *name, size_t n)
{
        static const char allowed[] =
                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@";

        if (n == 0 || n > DMN_TOKEN_NAME_MAX)
                return false;
        for (size_t i = 0; i < n; i++)
                if (name[i] == '\0' || !strchr(allowed, name[i]))
                        return false;
        return true;
}

static bool right_allowed(enum dmn_right right)
{
        return right > DMN_RIGHT_NONE && right < _DMN_RIGHT_MAX;
}

/* The next word of a line: [*at, *at + returned length). */
static size_t next_word(const char **at, const char *end)
{
        size_t n = 0;

        while (*at < end && (**at == ' ' || **at == '\t'))
                (*at)++;
        while (*at + n < end && (*at)[n] != ' ' && (*at)[n] != '\t')
                n++;
        return n;
}

static int wrong(struct bth_error *error, const char *what)
{
        return bth_error_set(error, -EBADMSG, BTH_REASON_SYNTAX, "%s", what);
}

static int parse_line(const char *line, const char *end, struct entry *ret, struct bth_error *error)
{
        char right[16] = "";
        size_t n = next_word(&line, end);

        if (n > 0 && n < sizeof right)
                memcpy(right, line, n);
        ret->token.right = dmn_right_from_string(right);
        if (!right_allowed(ret->token.right))
                return wrong(error,
                             "a line begins with the right: read, operate, admin or station");
        line += n;
        n = next_word(&line, end);
        if (!name_allowed(line, n))
                return wrong(error, "the name behind the right has 1 to 64 letters, digits, '.', "
                                    "'_', '-' and '@'");
        memcpy(ret->token.name, line, n);
        ret->token.name[n] = '\0';
        line += n;
        n = next_word(&line, end);
        if (n != HASH_DIGITS || bth_hex_decode(line, n, ret->hash) < 0)
                return wrong(error, "behind the name stands the SHA-256 of the token, 64 digits "
                                    "in hex, never the token itself");
        line += n;
        return next_word(&line, end) == 0 ? 0 : wrong(error, "there is more behind the hash");
}

static int add_line(struct dmn_tokens *t, const char *line, const char *end,
                    struct bth_error *error)
{
        struct entry *grown, e = { 0 };
        int r;

        if (end > line && end[-1] == '\r')
                end--;
        if (next_word(&line, end) == 0 || *line == '#')
                return 0;
        r = parse_line(line, end, &e, error);
        if (r < 0)
                return r;
        if (t->n == DMN_TOKENS_MAX)
                return bth_error_set(error, -E2BIG, BTH_REASON_LIMIT_EXCEEDED,
                                     "there are more than %u tokens", DMN_TOKENS_MAX);
        grown = reallocarray(t->entries, t->n + 1, sizeof *grown);
        if (!grown)
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY,
                                     "no memory for the tokens");
        t->entries = grown;
        t->entries[t->n++] = e;
        return 0;
}

int dmn_tokens_parse(const char *text, size_t n, const char *object, struct dmn_tokens **ret_tokens,
                     struct bth_error *error)
{
        _cleanup_(dmn_tokens_freep) struct dmn_tokens *t = calloc(1, sizeof *t);
        uint64_t number = 1;

        if (!t)
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY,
                                     "no memory for the tokens");
        for (size_t at = 0; at < n; number++) {
                const char *eol = memchr(text + at, '\n', n - at);
                const size_t length = eol ? (size_t)(eol - (text + at)) : n - at;
                int r;

                bth_error_at(error, object, number, BTH_ERROR_NO_OFFSET);
                r = add_line(t, text + at, text + at + length, error);
                if (r < 0)
                        return r;
                at += length + (eol ? 1 : 0);
        }
        if (error)
                bth_error_clear(error);
        *ret_tokens = take_ptr(t);
        return 0;
}

static int open_private(const char *path, uid_t user, int *ret_fd, struct bth_error *error)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return bth_error_set(error, -errno, BTH_REASON_FILE_UNREADABLE,
                                     "it cannot be read: %s", bth_strerror(-errno));
        if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0 ||
            (st.st_uid != 0 && st.st_uid != user))
                return bth_error_set(error, -EPERM, BTH_REASON_FILE_UNREADABLE,
                                     "a file of tokens belongs to root or to the station's user, "
                                     "and nobody else may read or write it (mode 0600)");
        *ret_fd = take_fd(fd);
        return 0;
}

static int load_of(const char *path, uid_t user, struct dmn_tokens **ret_tokens,
                   struct bth_error *error)
{
        _cleanup_close_ int fd = BTH_FD_NONE;
        _cleanup_free_ char *text = NULL;
        size_t n;
        int r;

        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        r = open_private(path, user, &fd, error);
        if (r < 0)
                return r;
        r = bth_read_fd(fd, FILE_BYTES_MAX, &text, &n);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE, "it cannot be read: %s",
                                     bth_strerror(r));
        return dmn_tokens_parse(text, n, path, ret_tokens, error);
}

int dmn_tokens_load(const char *path, struct dmn_tokens **ret_tokens, struct bth_error *error)
{
        return load_of(path, geteuid(), ret_tokens, error);
}

struct dmn_tokens *dmn_tokens_free(struct dmn_tokens *t)
{
        if (t)
                free(t->entries);
        free(t);
        return NULL;
}

/* -- whose
 * -------------------------------------------------------------------------------------------- */

const char *dmn_token_of_header(const char *authorization)
{
        const size_t n = strlen(SCHEME);

        if (!authorization || strncasecmp(authorization, SCHEME, n) != 0)
                return NULL;
        authorization += n;
        authorization += strspn(authorization, " ");
        return authorization[0] != '\0' ? authorization : NULL;
}

/* 1 when they are equal, else 0; without a branch on what they hold. */
static unsigned same_hash(const uint8_t *a, const uint8_t *b)
{
        volatile uint8_t different = 0;

        for (size_t i = 0; i < BTH_SHA256_BYTES; i++)
                different = (uint8_t)(different | (a[i] ^ b[i]));
        return (unsigned)(different - 1) >> (sizeof(unsigned) * 8 - 1);
}

const struct dmn_token *dmn_tokens_find(const struct dmn_tokens *t, const char *token)
{
        const struct dmn_token *found = NULL;
        uint8_t hash[BTH_SHA256_BYTES];

        if (!token || strlen(token) > DMN_TOKEN_BYTES_MAX ||
            bth_digest_of(BTH_DIGEST_SHA256, token, strlen(token), hash) < 0)
                return NULL;
        /* To the end also when it was found: what a guess comes near to must not be told. */
        for (size_t i = 0; t && i < t->n; i++)
                if (same_hash(hash, t->entries[i].hash))
                        found = &t->entries[i].token;
        bth_wipe(hash, sizeof hash);
        return found;
}

/* -- making
 * ------------------------------------------------------------------------------------------- */

int dmn_token_make(enum dmn_right right, const char *name, struct bth_secret **ret_token,
                   char **ret_line)
{
        _cleanup_(bth_secret_freep) struct bth_secret *token = NULL;
        char hex[HASH_DIGITS + 1], text[BTH_BASE64_LENGTH(TOKEN_BYTES) + 1];
        uint8_t bytes[TOKEN_BYTES], hash[BTH_SHA256_BYTES];
        int r;

        if (!right_allowed(right) || !name_allowed(name, strlen(name)))
                return -EINVAL;
        if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
                return -errno;
        (void)bth_base64_encode(bytes, sizeof bytes, text);
        for (char *c = text; *c; c++)
                *c = *c == '+' ? '-' : *c == '/' ? '_' : *c == '=' ? '\0' : *c;
        r = bth_secret_new_copy(text, DMN_TOKEN_TEXT_BYTES, &token);
        if (r == 0)
                r = bth_digest_of(BTH_DIGEST_SHA256, text, DMN_TOKEN_TEXT_BYTES, hash);
        bth_wipe(bytes, sizeof bytes);
        bth_wipe(text, sizeof text);
        if (r < 0)
                return r;
        if (asprintf(ret_line, "%s %s %s", dmn_right_to_string(right), name,
                     bth_hex_encode(hash, sizeof hash, hex)) < 0)
                return -ENOMEM;
        *ret_token = take_ptr(token);
        return 0;
}

static int check_new(const char *path, const char *name, uid_t user, struct bth_error *error)
{
        _cleanup_(dmn_tokens_freep) struct dmn_tokens *t = NULL;
        int r = load_of(path, user, &t, error);

        if (r == -ENOENT) {
                bth_error_clear(error);
                return 0;
        }
        if (r < 0)
                return r;
        for (size_t i = 0; i < t->n; i++)
                if (strcmp(t->entries[i].token.name, name) == 0)
                        return bth_error_set(error, -EEXIST, BTH_REASON_CONFLICT,
                                             "'%s' has a token already: take its line away first",
                                             name);
        return 0;
}

/* Root's file would be closed to the daemon, which is another user. */
static int give_to(int fd, uid_t user, gid_t group)
{
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_uid != 0 || user == 0)
                return 0;
        return fchown(fd, user, group) < 0 ? -errno : 0;
}

/* An editor may have left the last line without its end. */
static int ends_in_line(int fd, bool *ret)
{
        const off_t size = lseek(fd, 0, SEEK_END);
        char last = '\n';

        if (size < 0 || (size > 0 && pread(fd, &last, 1, size - 1) != 1))
                return -errno;
        *ret = last == '\n';
        return 0;
}

static int append_line(const char *path, const char *line, uid_t user, gid_t group,
                       struct bth_error *error)
{
        _cleanup_close_ int fd =
                open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
        _cleanup_free_ char *text = NULL;
        bool ended = true;
        int r = fd < 0 ? -errno : give_to(fd, user, group);

        if (r == 0)
                r = ends_in_line(fd, &ended);
        if (r == 0 && asprintf(&text, "%s%s\n", ended ? "" : "\n", line) < 0) {
                text = NULL;
                r = -ENOMEM;
        }
        if (r == 0)
                r = bth_write_full(fd, text, strlen(text));
        if (r == 0 && fsync(fd) < 0)
                r = -errno;
        return r < 0 ? bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE,
                                     "it cannot be written: %s", bth_strerror(r))
                     : 0;
}

int dmn_tokens_add(const char *path, const char *what, uid_t user, gid_t group,
                   struct bth_secret **ret_token, struct bth_error *error)
{
        const char *colon = strchr(what, ':');
        _cleanup_free_ char *right = colon ? strndup(what, (size_t)(colon - what)) : NULL;
        _cleanup_free_ char *line = NULL;
        _cleanup_(bth_secret_freep) struct bth_secret *token = NULL;
        int r = right ? dmn_token_make(dmn_right_from_string(right), colon + 1, &token, &line)
                      : -EINVAL;

        if (r == -EINVAL)
                return bth_error_set(error, r, BTH_REASON_USAGE,
                                     "a new token is named RIGHT:NAME, with read, operate, admin "
                                     "or station, and letters, digits, '.', '_', '-' and '@'");
        if (r < 0)
                return r;
        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        r = check_new(path, colon + 1, user, error);
        if (r == 0)
                r = append_line(path, line, user, group, error);
        if (r == 0)
                *ret_token = take_ptr(token);
        return r;
}
