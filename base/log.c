/* SPDX-License-Identifier: GPL-3.0-or-later */
/* log - messages to the journal or stderr, escaped and redacted here so that no caller can forget.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>

#include "base/error.h"
#include "base/log.h"
#include "base/names.h"
#include "base/str.h"

#define MESSAGE_MAX_BYTES 2048
#define FIELD_MAX_BYTES   1024
#define FIELDS_MAX        16
/* The longest secret that is known by its shape alone: a start of it may stand before a cut. */
#define SECRET_TAIL_BYTES 96

static enum bth_log_target log_target = BTH_LOG_TARGET_STDERR;
static int log_max_level = LOG_INFO;

/* systemd names in $JOURNAL_STREAM the device and inode of the stream it connected to stderr. */
static bool stderr_is_journal(void)
{
        const char *stream = getenv("JOURNAL_STREAM");
        uint64_t device, inode;
        const char *colon;
        struct stat st;

        if (!stream || !(colon = strchr(stream, ':')) || fstat(STDERR_FILENO, &st) < 0)
                return false;
        return bth_parse_u64_n(stream, (size_t)(colon - stream), &device) == 0 &&
               bth_parse_u64(colon + 1, &inode) == 0 && st.st_dev == device && st.st_ino == inode;
}

void bth_log_open(enum bth_log_target target, int level)
{
        if (target == BTH_LOG_TARGET_AUTO)
                target = stderr_is_journal() ? BTH_LOG_TARGET_JOURNAL : BTH_LOG_TARGET_STDERR;
        log_target = target;
        log_max_level = level;
}

int bth_log_level(void)
{
        return log_target == BTH_LOG_TARGET_NONE ? -1 : log_max_level;
}

static bool is_token_char(char c)
{
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               (c != '\0' && strchr("+/=%-_.~:", c));
}

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

/* Eight groups of six digits with '-' between: 55 characters. */
static bool is_recovery_password(const char *p)
{
        for (size_t i = 0; i < 55; i++)
                if (i % 7 == 6 ? p[i] != '-' : !is_digit(p[i]))
                        return false;
        return true;
}

static bool matches_word(const char *p, const char *word)
{
        for (; *word; word++, p++)
                if (*p == '\0' || (*p | 0x20) != (*word | 0x20))
                        return false;
        return true;
}

/* Words behind which a secret stands, up to the first character that no token has. */
static const char *const secret_words[] = {
        "sig=",
        "Bearer ",
        "SharedKey ",
        "AccountKey=",
        "BitLockerKey>",
        "StorageAccountKey>",
        "StorageAccountKey: ",
        "BitLockerKey: ",
        "ContainerSas>",
};

static char *redact_token(char *p)
{
        while (is_token_char(*p))
                *p++ = '*';
        return p;
}

/* An external key or account key on its own: 32 bytes are 43 base64 characters and '=', 64 bytes
 * are 86 and
 * "==". A hash has other lengths (MD5: 24 with "=="), SHA-256 is printed in hex. */
static size_t bare_key_length(const char *p)
{
        size_t n = 0;

        while ((p[n] >= '0' && p[n] <= '9') || (p[n] >= 'a' && p[n] <= 'z') ||
               (p[n] >= 'A' && p[n] <= 'Z') || p[n] == '+' || p[n] == '/')
                n++;
        if (n == 43 && p[43] == '=' && p[44] != '=')
                return 44;
        if (n == 86 && p[86] == '=' && p[87] == '=')
                return 88;
        return 0;
}

void bth_redact(char *text)
{
        bool inside_word = false;

        for (char *p = text; *p;) {
                size_t i, bare = inside_word ? 0 : bare_key_length(p);

                if (bare > 0) {
                        memset(p, '*', bare);
                        p += bare;
                        continue;
                }
                if (is_digit(*p) && (p == text || !is_digit(p[-1])) && is_recovery_password(p)) {
                        memset(p, '*', 55);
                        p += 55;
                        continue;
                }
                for (i = 0; i < ARRAY_SIZE(secret_words); i++)
                        if (matches_word(p, secret_words[i]))
                                break;
                if (i < ARRAY_SIZE(secret_words)) {
                        p = redact_token(p + strlen(secret_words[i]));
                        continue;
                }
                inside_word = is_token_char(*p) && *p != '=' && *p != ':';
                p++;
        }
}

void bth_redact_cut(char *text, size_t size_bytes, int wanted)
{
        if (wanted < 0)
                text[0] = '\0';
        bth_redact(text);
        if (wanted >= 0 && (size_t)wanted >= size_bytes && size_bytes > SECRET_TAIL_BYTES)
                text[size_bytes - SECRET_TAIL_BYTES] = '\0';
}

static const char *level_word(int level)
{
        static const char *const words[] = { "emergency", "alert",  "critical", "error",
                                             "warning",   "notice", "info",     "debug" };

        return level >= 0 && level < (int)ARRAY_SIZE(words) ? words[level] : "info";
}

static void to_stderr(int level, const char *message, char fields[][FIELD_MAX_BYTES], size_t n)
{
        struct iovec parts[2 * FIELDS_MAX + 8];
        size_t k = 0, shown = 0;

#define PART(s)                                                                        \
        parts[k++] = (struct iovec){ .iov_base = (void *)(uintptr_t)(const void *)(s), \
                                     .iov_len = strlen(s) }
        PART(level_word(level));
        PART(": ");
        PART(message);
        for (size_t i = 0; i < n; i++) {
                if (bth_starts_with(fields[i], BTH_FIELD_MESSAGE_ID "="))
                        continue; /* says nothing to people */
                PART(shown == 0 ? " [" : " ");
                shown++;
                PART(fields[i]);
        }
        if (shown > 0)
                PART("]");
        PART("\n");
#undef PART
        /* One call, so that lines of several threads do not mix. Nobody can be told when it fails.
         */
        if (writev(STDERR_FILENO, parts, (int)k) < 0)
                return;
}

static void to_journal(int level, const char *file, int line, const char *message,
                       char fields[][FIELD_MAX_BYTES], size_t n)
{
        char head[4][MESSAGE_MAX_BYTES + 32];
        struct iovec parts[FIELDS_MAX + 4];
        size_t k = 4;

        (void)snprintf(head[0], sizeof head[0], "MESSAGE=%s", message);
        (void)snprintf(head[1], sizeof head[1], "PRIORITY=%d", level);
        (void)snprintf(head[2], sizeof head[2], "CODE_FILE=%s", file);
        (void)snprintf(head[3], sizeof head[3], "CODE_LINE=%d", line);
        for (size_t i = 0; i < 4; i++)
                parts[i] = (struct iovec){ .iov_base = head[i], .iov_len = strlen(head[i]) };
        for (size_t i = 0; i < n; i++)
                parts[k++] = (struct iovec){ .iov_base = fields[i], .iov_len = strlen(fields[i]) };
        if (sd_journal_sendv(parts, (int)k) < 0)
                to_stderr(level, message, fields, n);
}

void bth_log_internal(int level, const char *file, int line, const struct bth_log_field *fields,
                      size_t n_fields, const char *format, ...)
{
        const int saved_errno = errno;
        char raw[MESSAGE_MAX_BYTES], message[MESSAGE_MAX_BYTES];
        char texts[FIELDS_MAX][FIELD_MAX_BYTES];
        size_t n = 0;
        va_list ap;
        int length;

        va_start(ap, format);
        length = vsnprintf(raw, sizeof raw, format, ap);
        va_end(ap);
        bth_redact_cut(raw, sizeof raw, length);
        bth_escape(raw, strlen(raw), message, sizeof message);
        for (size_t i = 0; i < n_fields && n < FIELDS_MAX; i++) {
                char value[FIELD_MAX_BYTES - 64];

                if (!fields[i].value)
                        continue;
                bth_escape(fields[i].value, strlen(fields[i].value), value, sizeof value);
                bth_redact(value);
                (void)snprintf(texts[n++], FIELD_MAX_BYTES, "%.60s=%s", fields[i].name, value);
        }
        if (log_target == BTH_LOG_TARGET_JOURNAL)
                to_journal(level, file, line, message, texts, n);
        else if (log_target != BTH_LOG_TARGET_NONE)
                to_stderr(level, message, texts, n);
        errno = saved_errno;
}

void bth_log_error(int level, const struct bth_error *e)
{
        char text[1536];
        const struct bth_log_field fields[] = {
                { BTH_FIELD_REASON, bth_reason_to_string(e->reason) },
                { BTH_FIELD_OBJECT, e->object[0] != '\0' ? e->object : NULL },
                { BTH_FIELD_BLOB, e->blob[0] != '\0' ? e->blob : NULL },
        };

        bth_log_fields(level, fields, "%s", bth_error_to_string(e, text, sizeof text));
}
