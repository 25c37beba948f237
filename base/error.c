/* SPDX-License-Identifier: GPL-3.0-or-later */
/* error - filling and printing struct bth_error. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"

static void _printf_(3, 0) set_text(char *field, size_t field_bytes, const char *format, va_list ap)
{
        char raw[1024];
        int n = vsnprintf(raw, sizeof raw, format, ap);

        if (n < 0)
                n = 0;
        bth_escape(raw, MIN((size_t)n, sizeof raw - 1), field, field_bytes);
}

int bth_error_set(struct bth_error *e, int code, enum bth_reason reason, const char *format, ...)
{
        va_list ap;

        if (!e)
                return code;
        if (e->code == 0 && e->object[0] == '\0' && e->line == 0 && e->offset_bytes == 0)
                e->offset_bytes = BTH_ERROR_NO_OFFSET; /* a zeroed struct is as good as _INIT */
        e->code = code;
        e->reason = reason;
        e->advice[0] = '\0';
        va_start(ap, format);
        set_text(e->sentence, sizeof e->sentence, format, ap);
        va_end(ap);
        return code;
}

void bth_error_at(struct bth_error *e, const char *object, uint64_t line, uint64_t offset_bytes)
{
        if (!e)
                return;
        if (object)
                bth_escape(object, strlen(object), e->object, sizeof e->object);
        e->line = line;
        e->offset_bytes = offset_bytes;
}

void bth_error_blob(struct bth_error *e, const char *blob)
{
        if (e && blob)
                bth_escape(blob, strlen(blob), e->blob, sizeof e->blob);
}

void bth_error_advise(struct bth_error *e, const char *format, ...)
{
        va_list ap;

        if (!e)
                return;
        va_start(ap, format);
        set_text(e->advice, sizeof e->advice, format, ap);
        va_end(ap);
}

void bth_error_clear(struct bth_error *e)
{
        if (e)
                *e = BTH_ERROR_INIT;
}

const char *bth_error_advice(const struct bth_error *e)
{
        return e->advice[0] != '\0' ? e->advice : bth_reason_advice(e->reason);
}

char *bth_error_to_string(const struct bth_error *e, char *buffer, size_t size_bytes)
{
        char where[600] = "", text[sizeof where + sizeof e->blob + sizeof e->sentence + 512];
        const char *sentence =
                e->sentence[0] != '\0' ? e->sentence : bth_reason_sentence(e->reason);
        int n = 0;

        if (e->object[0] != '\0')
                n = snprintf(where, sizeof where, "%s:", e->object);
        if (e->line != 0)
                n += snprintf(where + n, sizeof where - (size_t)n, "%s%" PRIu64 ":",
                              n == 0 ? "line " : "", e->line);
        if (e->offset_bytes != BTH_ERROR_NO_OFFSET)
                n += snprintf(where + n, sizeof where - (size_t)n, "%soffset %" PRIu64 ":",
                              n == 0 ? "" : " ", e->offset_bytes);
        (void)snprintf(text, sizeof text, "%s%s%s%s%s%s. %s.", where, n > 0 ? " " : "",
                       e->blob[0] != '\0' ? "blob '" : "", e->blob, e->blob[0] != '\0' ? "': " : "",
                       sentence, bth_error_advice(e));
        bth_escape(text, strlen(text), buffer, size_bytes);
        return buffer;
}

const char *bth_strerror(int negative_errno)
{
        const char *text = strerrordesc_np(negative_errno < 0 ? -negative_errno : negative_errno);

        return text ? text : "Unknown error";
}
