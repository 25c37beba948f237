/* SPDX-License-Identifier: GPL-3.0-or-later */
/* naming - the rules, one function each. */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "base/utf.h"
#include "media/naming.h"

#define COMPONENT_MAX_UNITS 255

/* Tables, because there are millions of names: characters that clients get wrong in names of blobs,
 * and characters that names of files cannot have. */
static const bool doubtful[256] = {
        [0x01 ... 0x1f] = true, [0x7f] = true, ['%'] = true,
        ['?'] = true,           ['#'] = true,  ['\\'] = true,
};
static const bool not_in_files[256] = {
        [0x01 ... 0x1f] = true, ['<'] = true, ['>'] = true, [':'] = true, ['"'] = true,
        ['|'] = true,           ['?'] = true, ['*'] = true, ['/'] = true,
};

static int invalid(struct bth_error *error, const char *what, const char *name, const char *rule)
{
        return bth_error_set(error, -EINVAL, BTH_REASON_NAME_INVALID, "%s '%s' %s", what, name,
                             rule);
}

static bool is_lower(char c)
{
        return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
        return is_lower(c) || (c >= 'A' && c <= 'Z');
}

int med_check_container(const char *name, struct bth_error *error)
{
        const size_t n = strlen(name);

        if (strcmp(name, "$root") == 0 || strcmp(name, "$web") == 0 || strcmp(name, "$logs") == 0)
                return 0;
        if (n < 3 || n > 63)
                return invalid(error, "the container", name, "must have 3 to 63 characters");
        for (size_t i = 0; i < n; i++) {
                if (name[i] >= 'A' && name[i] <= 'Z')
                        return invalid(error, "the container", name, "must be lower case");
                if (!is_lower(name[i]) && !is_digit(name[i]) && name[i] != '-')
                        return invalid(error, "the container", name,
                                       "may only have letters, digits and single hyphens");
                if (name[i] == '-' && (i == 0 || i + 1 == n || name[i - 1] == '-'))
                        return invalid(error, "the container", name,
                                       "must have a letter or digit on both sides of a hyphen");
        }
        return 0;
}

int med_check_session_id(const char *id, struct bth_error *error)
{
        const size_t n = strlen(id);

        if (n < 3 || n > 30)
                return invalid(error, "the session id", id, "must have 3 to 30 characters");
        for (size_t i = 0; i < n; i++)
                if (!is_letter(id[i]) && !is_digit(id[i]) && !strchr("_-#", id[i]))
                        return invalid(error, "the session id", id,
                                       "may only have letters, digits, '_', '-' and '#'");
        return 0;
}

int med_check_job_name(const char *name, struct bth_error *error)
{
        const size_t n = strlen(name);

        if (n < 3 || n > 24)
                return invalid(error, "the job name", name, "must have 3 to 24 characters");
        if (!is_lower(name[0]))
                return invalid(error, "the job name", name, "must begin with a lower-case letter");
        for (size_t i = 0; i < n; i++)
                if (!is_lower(name[i]) && !is_digit(name[i]) && name[i] != '-')
                        return invalid(error, "the job name", name,
                                       "may only have lower-case letters, digits and hyphens");
        if (name[n - 1] == '-')
                return invalid(error, "the job name", name, "must not end with a hyphen");
        return 0;
}

static size_t count_characters(const char *text)
{
        size_t n = 0;

        for (; *text; text++)
                n += ((unsigned char)*text & 0xc0) != 0x80;
        return n;
}

int med_check_blob_name(const char *container, const char *name, struct bth_error *error)
{
        if (name[0] == '\0')
                return bth_error_set(error, -EINVAL, BTH_REASON_NAME_INVALID,
                                     "the blob has no name behind its container '%s'", container);
        if (!bth_utf8_valid(name, strlen(name)))
                return invalid(error, "the blob name", name, "is not UTF-8");
        if (count_characters(name) > MED_BLOB_NAME_MAX_CHARACTERS)
                return invalid(error, "the blob name", name, "is longer than 1,024 characters");
        if (strcmp(container, "$root") == 0 && strchr(name, '/'))
                return invalid(error, "the blob name", name, "is in $root and must not have '/'");
        return 0;
}

const char *med_blob_name_doubt(const char *name)
{
        const size_t n = strlen(name);

        if (n > 0 && (name[n - 1] == '.' || name[n - 1] == '/'))
                return "the name ends with a dot or slash, which some clients drop";
        for (size_t i = 0; i < n; i++) {
                unsigned char c = (unsigned char)name[i];

                if (!doubtful[c])
                        continue;
                if (c < 0x20 || c == 0x7f)
                        return "the name has control characters";
                if (strchr("%?#", name[i]))
                        return "the name has '%', '?' or '#', which some clients take for parts of "
                               "a URL";
                if (c == '\\')
                        return "the name has a backslash, which some clients take for '/'";
        }
        return NULL;
}

static int check_component(const char *path, const char *component, size_t n,
                           struct bth_error *error)
{
        uint8_t units[2 * COMPONENT_MAX_UNITS];
        size_t k;

        if (n == 0)
                return invalid(error, "the path", path, "has an empty component");
        if ((n == 1 && component[0] == '.') || (n == 2 && memcmp(component, "..", 2) == 0))
                return invalid(error, "the path", path, "must not have '.' or '..' as a component");
        for (size_t i = 0; i < n; i++)
                if (not_in_files[(unsigned char)component[i]])
                        return invalid(error, "the path", path,
                                       "has a character that is not allowed in file names");
        if (n <= COMPONENT_MAX_UNITS)
                return 0; /* UTF-16 never needs more units than UTF-8 bytes */
        if (bth_utf8_to_utf16(component, n, units, COMPONENT_MAX_UNITS, &k) < 0) {
                (void)invalid(error, "the path", path, "has a component over 255 characters");
                if (error)
                        error->code = -ENAMETOOLONG;
                return -ENAMETOOLONG;
        }
        return 0;
}

/* As Windows counts: a character beyond the first plane is two. */
static size_t count_units(const char *text)
{
        size_t n = 0;

        for (; *text; text++) {
                const unsigned char c = (unsigned char)*text;

                n += c >= 0xf0 ? 2 : (c & 0xc0) != 0x80;
        }
        return n;
}

int med_check_file_path(const char *path, struct bth_error *error)
{
        const char *p = path;
        size_t units = count_units(path);

        if (path[0] != '\\' || path[1] == '\0')
                return invalid(error, "the path", path,
                               "must begin with a backslash and name a file");
        if (!bth_utf8_valid(path, strlen(path)))
                return invalid(error, "the path", path, "is not UTF-8");
        if (units > MED_FILE_PATH_MAX_UNITS)
                return bth_error_set(error, -ENAMETOOLONG, BTH_REASON_NAME_INVALID,
                                     "the path has %zu characters; at most 32,767 are possible",
                                     units);
        while (*p == '\\') {
                const char *start = ++p;
                int r;

                p = strchrnul(start, '\\');
                r = check_component(path, start, (size_t)(p - start), error);
                if (r < 0)
                        return r;
        }
        return 0;
}

int med_blob_path_split(const char *blob_path, char **ret_container, char **ret_name)
{
        _cleanup_free_ char *container = NULL;
        const char *slash;
        char *name;

        if (blob_path[0] == '/')
                blob_path++;
        slash = strchr(blob_path, '/');
        if (!slash || slash == blob_path || slash[1] == '\0')
                return -EINVAL;
        container = strndup(blob_path, (size_t)(slash - blob_path));
        name = strdup(slash + 1);
        if (!container || !name) {
                free(name);
                return -ENOMEM;
        }
        *ret_container = take_ptr(container);
        *ret_name = name;
        return 0;
}

/* "https://ACCOUNT.blob.…/rest" -> account and rest. */
static int split_url(const char *text, char **ret_account, const char **ret_rest,
                     struct bth_error *error)
{
        const char *host, *slash, *dot;

        if (!bth_starts_with(text, "https://") && !bth_starts_with(text, "http://")) {
                *ret_rest = text;
                return 0;
        }
        host = strstr(text, "://") + 3;
        slash = strchr(host, '/');
        dot = strchr(host, '.');
        if (!slash || !dot || dot > slash || dot == host)
                return invalid(error, "the destination", text,
                               "is a URL without an account and a container");
        *ret_account = strndup(host, (size_t)(dot - host));
        if (!*ret_account)
                return -ENOMEM;
        *ret_rest = slash + 1;
        return 0;
}

static int check_destination(const struct med_destination *d, struct bth_error *error)
{
        int r = med_check_container(d->container, error);

        if (r < 0)
                return r;
        if (d->is_prefix && strcmp(d->container, "$root") == 0 && d->rest[0] != '\0')
                return invalid(error, "the destination", d->rest,
                               "is in $root, where names have no '/'");
        if (count_characters(d->rest) > MED_BLOB_NAME_MAX_CHARACTERS)
                return invalid(error, "the destination", d->rest,
                               "is longer than 1,024 characters");
        return d->is_prefix ? 0 : med_check_blob_name(d->container, d->rest, error);
}

int med_destination_parse(const char *text, struct med_destination *ret_destination,
                          struct bth_error *error)
{
        struct med_destination d = { 0 };
        const char *rest = NULL, *slash;
        int r = split_url(text, &d.account, &rest, error);

        if (r < 0)
                goto out;
        slash = strchr(rest, '/');
        if (strchr(rest, '\\') || !slash || slash == rest) {
                r = invalid(error, "the destination", text,
                            "must be container/, container/folder/ or container/name, with '/'");
                goto out;
        }
        d.container = strndup(rest, (size_t)(slash - rest));
        d.rest = strdup(slash + 1);
        if (!d.container || !d.rest) {
                r = -ENOMEM;
                goto out;
        }
        d.is_prefix = d.rest[0] == '\0' || bth_ends_with(d.rest, "/");
        r = check_destination(&d, error);
        if (r == 0)
                *ret_destination = d;
out:
        if (r < 0)
                med_destination_clear(&d);
        return r;
}

void med_destination_clear(struct med_destination *d)
{
        free(d->account);
        free(d->container);
        free(d->rest);
        *d = (struct med_destination){ 0 };
}

int med_rename(const char *name, unsigned n, char **ret_name)
{
        const char *dot = strrchr(name, '.');
        int k;

        k = dot ? asprintf(ret_name, "%.*s (%u)%s", (int)(dot - name), name, n, dot)
                : asprintf(ret_name, "%s (%u)", name, n);
        return k < 0 ? -ENOMEM : 0;
}
