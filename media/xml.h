/* SPDX-License-Identifier: GPL-3.0-or-later */
/* xml - reading hostile XML: a thin layer over libxml2's SAX2 push parser.
 *
 *     bytes -> byte order mark, UTF-16 -> declaration taken off -> libxml2 -> start, text, end
 *
 * No network, no files, no document type, no entities beyond the five of XML itself; limits on
 * depth, tags, attributes and texts; the memory that libxml2 frees is wiped, because journals and
 * manifests carry keys. UTF-8 (ASCII in it) and UTF-16 with or without a byte order mark, any case
 * of the encoding's name, every kind of line end; a missing declaration is fine, and so are blank
 * lines before it. One parser belongs to one thread; several threads may have one each.
 * Source: XML 1.0; libxml2 2.9; import-export specification section 0.3. */
#pragma once

#include "base/error.h"

#define MED_XML_MAX_DEPTH      64u
#define MED_XML_MAX_ATTRIBUTES 64u
#define MED_XML_MAX_TAG_BYTES  ((size_t)64 << 10) /* a tag, a comment, an instruction; roughly */
#define MED_XML_MAX_TEXT_BYTES ((size_t)1 << 20)  /* between two tags */

struct med_xml;

/* Attributes of an element, in document order. Values are decoded, not NUL-terminated. */
struct med_xml_attributes {
        const unsigned char **raw; /* libxml2's array of five pointers each; use the helpers */
        size_t n;
};

static inline const char *med_xml_attribute_name(const struct med_xml_attributes *a, size_t i)
{
        return (const char *)a->raw[5 * i];
}

static inline const char *med_xml_attribute_value(const struct med_xml_attributes *a, size_t i,
                                                  size_t *ret_n)
{
        *ret_n = (size_t)(a->raw[5 * i + 4] - a->raw[5 * i + 3]);
        return (const char *)a->raw[5 * i + 3];
}

/* Each may be NULL. A negative errno from any of them ends the parse and is returned to the feeder,
 * with `error` as the handler left it (it was given to med_xml_feed()). Pointers live during the
 * call only. `line` is where the tag ends. */
struct med_xml_handler {
        /* `name` without prefix; equal names have equal pointers during one parse. */
        int (*start)(void *userdata, const char *name, const struct med_xml_attributes *attributes,
                     uint64_t line);
        /* Character data, possibly in several pieces, not NUL-terminated. */
        int (*text)(void *userdata, const char *text, size_t n);
        int (*end)(void *userdata, const char *name, uint64_t line);
};

enum med_xml_flags {
        MED_XML_DOCUMENT = 0,
        /* A sequence of top-level elements, also none, instead of one root, as newer copy logs are
         * (spec 5.5). */
        MED_XML_FRAGMENTS = 1 << 0,
};

/* `handler` and `userdata` must outlive the parser. `object` names the file in errors; copied; may
 * be NULL. Returns 0 or -ENOMEM. */
int med_xml_new(const struct med_xml_handler *handler, void *userdata, const char *object,
                enum med_xml_flags flags, struct med_xml **ret_xml) _must_check_;
struct med_xml *med_xml_free(struct med_xml *x); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(med_xml_free, struct med_xml *);

/* The pointer that handlers get for elements and attributes of this name, so that a reader of many
 * elements compares pointers. Lives as long as the parser. NULL when there is no memory. */
const char *med_xml_intern(struct med_xml *x, const char *name) _must_check_;

/* Parses the next piece of the file, of any size; 16 to 256 KiB are best. Returns 0; -EBADMSG with
 * line: not well-formed, beyond a limit, a document type or an entity, an encoding other than UTF-8
 * and UTF-16; what a handler gave; -ENOMEM. After a failure every call returns the same. */
int med_xml_feed(struct med_xml *x, const void *data, size_t n, struct bth_error *error)
        _must_check_;

/* The file is complete. Returns 0 and the errors of med_xml_feed(), also for a file without any
 * element. */
int med_xml_finish(struct med_xml *x, struct bth_error *error) _must_check_;

/* new, feed, finish, free in one call over memory. Returns 0 and the errors of med_xml_feed(). */
int med_xml_parse(const void *data, size_t n, const struct med_xml_handler *handler, void *userdata,
                  const char *object, enum med_xml_flags flags, struct bth_error *error)
        _must_check_;

/* Line under way, from 1; for findings. */
uint64_t med_xml_line(const struct med_xml *x);

/* Takes white space off both ends of (*text, *n). */
void med_xml_trim(const char **text, size_t *n);
/* Takes off line breaks with the blanks around them, as pretty printers add them, but no other
 * blank: names of blobs and files may begin and end with one. */
void med_xml_trim_layout(const char **text, size_t *n);
