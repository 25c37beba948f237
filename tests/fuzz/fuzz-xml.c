/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fuzz-xml - the guarded parser, whole and in pieces: both must hear the same, unless it is no XML
 * at all. The first byte chooses document or fragments, and the size of the pieces. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "media/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int hear_start(void *userdata, const char *name, const struct med_xml_attributes *a,
                      uint64_t line)
{
        struct bth_buf *b = userdata;
        int r = bth_buf_add_format(b, "\x01%s", name);

        for (size_t i = 0; r == 0 && i < a->n; i++) {
                size_t n;
                const char *value = med_xml_attribute_value(a, i, &n);

                r = bth_buf_add_format(b, " %s=", med_xml_attribute_name(a, i));
                if (r == 0)
                        r = bth_buf_add(b, value, n);
        }
        return r < 0 ? r : bth_buf_add_string(b, "\x02");
}

static int hear_text(void *userdata, const char *text, size_t n)
{
        return bth_buf_add(userdata, text, n);
}

static int hear_end(void *userdata, const char *name, uint64_t line)
{
        return bth_buf_add_format(userdata, "\x03%s", name);
}

static int parse(const uint8_t *data, size_t n, size_t piece, enum med_xml_flags flags,
                 struct bth_buf *out)
{
        static const struct med_xml_handler handler = { hear_start, hear_text, hear_end };
        _cleanup_(med_xml_freep) struct med_xml *x = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        int r = med_xml_new(&handler, out, "f", flags, &x);

        for (size_t at = 0; r == 0 && at < n; at += piece)
                r = med_xml_feed(x, data + at, MIN(piece, n - at), &e);
        if (r == 0)
                r = med_xml_finish(x, &e);
        if (r < 0 && (e.sentence[0] == '\0' || e.line == 0))
                abort();
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        _cleanup_buf_ struct bth_buf whole = BTH_BUF_INIT, pieces = BTH_BUF_INIT;
        enum med_xml_flags flags;
        size_t piece;

        if (n == 0)
                return 0;
        flags = data[0] & 1 ? MED_XML_FRAGMENTS : MED_XML_DOCUMENT;
        piece = (size_t)(data[0] >> 1) + 1;
        if (parse(data + 1, n - 1, n, flags, &whole) < 0 ||
            parse(data + 1, n - 1, piece, flags, &pieces) < 0)
                return 0;
        if (whole.length != pieces.length ||
            (whole.length > 0 && memcmp(whole.data, pieces.data, whole.length) != 0))
                abort();
        return 0;
}
