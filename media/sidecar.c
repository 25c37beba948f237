/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sidecar - one root, flat children, text. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "media/sidecar.h"
#include "media/xml.h"

#define DECLARATION "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"

static const char *const property_names[] = {
        "Content-Type",  "Content-MD5", "Content-Encoding", "Content-Language", "Cache-Control",
        "Last-Modified", "Etag",        "Content-Length",
};

const char *med_property_to_string(enum med_property p)
{
        return (size_t)p < ARRAY_SIZE(property_names) ? property_names[p] : NULL;
}

bool med_metadata_name_valid(const char *name)
{
        for (const char *p = name; *p; p++) {
                bool letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || *p == '_';

                if (!letter && (p == name || *p < '0' || *p > '9'))
                        return false;
        }
        return name[0] != '\0';
}

void med_metadata_clear(struct med_metadata *m)
{
        for (size_t i = 0; i < m->n_items; i++) {
                free(m->items[i].name);
                free(m->items[i].value);
        }
        free(m->items);
        *m = (struct med_metadata){ 0 };
}

void med_properties_clear(struct med_properties *p)
{
        for (size_t i = 0; i < _MED_PROPERTY_MAX; i++)
                free(p->values[i]);
        *p = (struct med_properties){ 0 };
}

struct reading {
        const char *root;
        const char *object;
        struct bth_error *error;
        /* Keeps one child; may refuse it. */
        int (*take)(struct reading *r, const char *name, char *value, uint64_t line);
        union {
                struct med_metadata *metadata;
                struct med_properties *properties;
        };
        unsigned depth;
        struct bth_buf text;
};

static int _printf_(4, 5)
        refuse(struct reading *r, uint64_t line, enum bth_reason reason, const char *format, ...)
{
        char text[256];
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(text, sizeof text, format, ap);
        va_end(ap);
        bth_error_at(r->error, r->object, line, BTH_ERROR_NO_OFFSET);
        return bth_error_set(r->error, -EBADMSG, reason, "%s", text);
}

static int on_start(void *userdata, const char *name, const struct med_xml_attributes *a,
                    uint64_t line)
{
        struct reading *r = userdata;

        if (a->n > 0)
                return refuse(r, line, BTH_REASON_SYNTAX, "the element %.60s has an attribute",
                              name);
        if (r->depth == 0 && strcmp(name, r->root) != 0)
                return refuse(r, line, BTH_REASON_SYNTAX, "the root is %.60s, not %s", name,
                              r->root);
        if (++r->depth > 2)
                return refuse(r, line, BTH_REASON_SYNTAX, "the element %.60s stands inside another",
                              name);
        r->text.length = 0;
        return 0;
}

static int on_text(void *userdata, const char *text, size_t n)
{
        struct reading *r = userdata;

        return bth_buf_add(&r->text, text, n);
}

static bool has_control(const char *text)
{
        for (; *text; text++)
                if ((unsigned char)*text < 0x20 || *text == 0x7f)
                        return true;
        return false;
}

static int on_end(void *userdata, const char *name, uint64_t line)
{
        struct reading *r = userdata;
        char *value = NULL;
        const char *text;
        size_t n;

        if (--r->depth == 0)
                return 0;
        text = r->text.data ? r->text.data : "";
        n = r->text.length;
        while (n > 0 && strchr(" \t\r\n", *text)) {
                text++;
                n--;
        }
        while (n > 0 && strchr(" \t\r\n", text[n - 1]))
                n--;
        value = strndup(text, n);
        if (!value)
                return -ENOMEM;
        if (has_control(value)) {
                free(value);
                return refuse(r, line, BTH_REASON_VALUE_INVALID,
                              "the value of %.60s has control characters", name);
        }
        r->text.length = 0;
        return r->take(r, name, value, line);
}

static int take_metadata(struct reading *r, const char *name, char *value, uint64_t line)
{
        struct med_metadata *m = r->metadata;
        struct med_metadata_item *p;
        int e = 0;

        if (!med_metadata_name_valid(name))
                e = refuse(r, line, BTH_REASON_NAME_INVALID,
                           "'%.60s' is no metadata name: letters, digits and '_', no digit first",
                           name);
        else if (m->n_items == MED_METADATA_MAX_ITEMS)
                e = refuse(r, line, BTH_REASON_LIMIT_EXCEEDED, "there are more than %d names",
                           MED_METADATA_MAX_ITEMS);
        for (size_t i = 0; e == 0 && i < m->n_items; i++)
                if (bth_ascii_casecmp(m->items[i].name, name) == 0)
                        e = refuse(r, line, BTH_REASON_VALUE_INVALID,
                                   "the metadata name '%.60s' stands twice", name);
        p = e == 0 ? reallocarray(m->items, m->n_items + 1, sizeof *p) : NULL;
        if (!p) {
                free(value);
                return e < 0 ? e : -ENOMEM;
        }
        m->items = p;
        p[m->n_items] = (struct med_metadata_item){ .name = strdup(name), .value = value };
        return p[m->n_items++].name ? 0 : -ENOMEM;
}

static bool is_md5(const char *value)
{
        uint8_t bytes[24];
        size_t n;

        return strlen(value) == 24 && bth_base64_decode(value, 24, bytes, &n) == 0 && n == 16;
}

static int take_property(struct reading *r, const char *name, char *value, uint64_t line)
{
        struct med_properties *p = r->properties;

        for (size_t i = 0; i < _MED_PROPERTY_MAX; i++) {
                int e = 0;

                if (strcmp(name, property_names[i]) != 0)
                        continue;
                if (p->values[i])
                        e = refuse(r, line, BTH_REASON_VALUE_INVALID,
                                   "the property %s stands twice", name);
                else if (i == MED_PROPERTY_CONTENT_MD5 && value[0] != '\0' && !is_md5(value))
                        e = refuse(r, line, BTH_REASON_VALUE_INVALID,
                                   "Content-MD5 is not base64 of 16 bytes");
                if (e < 0 || value[0] == '\0')
                        free(value);
                else
                        p->values[i] = value;
                return e;
        }
        free(value);
        return refuse(r, line, BTH_REASON_VALUE_INVALID, "the property '%.60s' is not known", name);
}

static int parse(struct reading *r, const void *data, size_t n)
{
        static const struct med_xml_handler handler = { on_start, on_text, on_end };
        int e;

        if (n > MED_SIDECAR_MAX_BYTES) {
                bth_error_at(r->error, r->object, 0, BTH_ERROR_NO_OFFSET);
                return bth_error_set(r->error, -EFBIG, BTH_REASON_TOO_LARGE,
                                     "the file has %zu bytes; at most %zu are read", n,
                                     MED_SIDECAR_MAX_BYTES);
        }
        e = med_xml_parse(data, n, &handler, r, r->object, MED_XML_DOCUMENT, r->error);
        bth_buf_clear(&r->text);
        return e;
}

int med_metadata_parse(const void *data, size_t n, const char *object,
                       struct med_metadata *ret_metadata, struct bth_error *error)
{
        struct med_metadata m = { 0 };
        struct reading r = { .root = "Metadata",
                             .object = object,
                             .error = error,
                             .take = take_metadata,
                             .metadata = &m };
        int e = parse(&r, data, n);

        if (e < 0)
                med_metadata_clear(&m);
        else
                *ret_metadata = m;
        return e;
}

int med_properties_parse(const void *data, size_t n, const char *object,
                         struct med_properties *ret_properties, struct bth_error *error)
{
        struct med_properties p = { 0 };
        struct reading r = { .root = "Properties",
                             .object = object,
                             .error = error,
                             .take = take_property,
                             .properties = &p };
        int e = parse(&r, data, n);

        if (e < 0)
                med_properties_clear(&p);
        else
                *ret_properties = p;
        return e;
}

/* Blanks around a value would be lost at reading. */
static bool value_is_writable(const char *value)
{
        const size_t n = strlen(value);

        return bth_utf8_valid(value, n) && !has_control(value) &&
               (n == 0 || (value[0] != ' ' && value[n - 1] != ' '));
}

static int write_element(struct bth_buf *out, const char *name, const char *value)
{
        int r = value_is_writable(value) ? bth_buf_add_format(out, "<%s>", name) : -EINVAL;

        if (r == 0)
                r = bth_buf_add_xml(out, value);
        return r < 0 ? r : bth_buf_add_format(out, "</%s>\n", name);
}

int med_metadata_write(struct bth_buf *out, const struct med_metadata *m)
{
        int r = bth_buf_add_string(out, DECLARATION "<Metadata>\n");

        for (size_t i = 0; r == 0 && i < m->n_items; i++)
                r = med_metadata_name_valid(m->items[i].name)
                            ? write_element(out, m->items[i].name, m->items[i].value)
                            : -EINVAL;
        return r < 0 ? r : bth_buf_add_string(out, "</Metadata>\n");
}

int med_properties_write(struct bth_buf *out, const struct med_properties *p)
{
        int r = bth_buf_add_string(out, DECLARATION "<Properties>\n");

        for (size_t i = 0; r == 0 && i < _MED_PROPERTY_MAX; i++)
                if (p->values[i])
                        r = write_element(out, property_names[i], p->values[i]);
        return r < 0 ? r : bth_buf_add_string(out, "</Properties>\n");
}
