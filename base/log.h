/* SPDX-License-Identifier: GPL-3.0-or-later */
/* log - one line per happening, to the systemd journal when that is where stderr goes, else to
 * stderr.
 *
 * Programs log; libraries log at debug only (house style). The layer itself escapes control bytes
 * and invalid UTF-8 in what it prints, and redacts what looks like a secret (sig=…, bearer tokens,
 * account keys, BitLocker recovery passwords), so a careless caller leaks nothing. Any thread. */
#pragma once

#include <stdarg.h>
#include <syslog.h>

#include "base/macros.h"

struct bth_error;

/* A structured field beside the message; names are in base/names.h. `value` may be hostile or NULL.
 */
struct bth_log_field {
        const char *name;
        const char *value;
};

enum bth_log_target {
        BTH_LOG_TARGET_AUTO, /* the journal when stderr is connected to it, else stderr */
        BTH_LOG_TARGET_STDERR,
        BTH_LOG_TARGET_JOURNAL,
        BTH_LOG_TARGET_NONE,
        _BTH_LOG_TARGET_MAX,
        _BTH_LOG_TARGET_INVALID = -EINVAL,
};

/* Once, at the start of main. `level` is a syslog level; messages above it are dropped. */
void bth_log_open(enum bth_log_target target, int level);
/* Returns the level above which messages are dropped; -1 when there is no target. Never an error.
 */
int bth_log_level(void) _pure_;

/* Writes one message. Keeps errno. */
void bth_log_internal(int level, const char *file, int line, const struct bth_log_field *fields,
                      size_t n_fields, const char *format, ...) _printf_(6, 7);

/* Logs an error with its reason, place and advice at LOG_ERR or the given level. */
void bth_log_error(int level, const struct bth_error *e);

#define bth_log(level, ...)                                                            \
        ((level) <= bth_log_level()                                                    \
                 ? bth_log_internal((level), __FILE__, __LINE__, NULL, 0, __VA_ARGS__) \
                 : (void)0)
#define bth_log_fields(level, fields, ...)                                                    \
        ((level) <= bth_log_level() ? bth_log_internal((level), __FILE__, __LINE__, (fields), \
                                                       ARRAY_SIZE(fields), __VA_ARGS__)       \
                                    : (void)0)
#define bth_debug(...) bth_log(LOG_DEBUG, __VA_ARGS__)

/* Replaces, in place, what looks like a secret by '*' characters: the value of sig=, se+sig tokens,
 * "Bearer X", "SharedKey a:X", AccountKey=X, and 48-digit recovery passwords. Length stays. */
void bth_redact(char *text);

/* The same for text that snprintf() made in a buffer of `size_bytes` and that wanted to have
 * `wanted` bytes (its return value): where it was cut, the end goes too, since it may be the start
 * of a secret. */
void bth_redact_cut(char *text, size_t size_bytes, int wanted);
