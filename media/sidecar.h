/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sidecar - the metadata file and the properties file that stand beside data on a drive.
 * A file that does not fit is refused whole (sidecar status XmlReadFailed); nothing is guessed.
 * Source: import-export specification 3. */
#pragma once

#include "base/error.h"
#include "base/str.h"

#define MED_SIDECAR_MAX_BYTES ((size_t)1 << 20)
#define MED_METADATA_SERVICE_BYTES                                     \
        8192 /* what the blob service takes, names and values together \
              */

#define MED_METADATA_MAX_ITEMS 4096 /* a name and a value need a byte each */

struct med_metadata {
        struct med_metadata_item {
                char *name;  /* C# identifier; unique whatever the case */
                char *value; /* UTF-8, no control characters */
        } * items;
        size_t n_items;
};

enum med_property {
        MED_PROPERTY_CONTENT_TYPE,
        MED_PROPERTY_CONTENT_MD5, /* base64 of 16 bytes */
        MED_PROPERTY_CONTENT_ENCODING,
        MED_PROPERTY_CONTENT_LANGUAGE,
        MED_PROPERTY_CACHE_CONTROL,
        /* Written by exports only, and of no effect in an import: */
        MED_PROPERTY_LAST_MODIFIED,
        MED_PROPERTY_ETAG,
        MED_PROPERTY_CONTENT_LENGTH,
        _MED_PROPERTY_MAX,
        _MED_PROPERTY_INVALID = -EINVAL,
};

struct med_properties {
        char *values[_MED_PROPERTY_MAX]; /* NULL: absent */
};

/* The element's name, e.g. "Content-Type"; NULL outside the list. */
const char *med_property_to_string(enum med_property p);

/* Parse a whole file. `object` names it in errors.
 * Return 0; -EBADMSG with the line: not XML, another root, an attribute, a name that is no
 * identifier, a name twice, more names than the service could take, a value with control
 * characters, an unknown property, a Content-MD5 that is none; -EFBIG; -ENOMEM. Returns are the
 * same for both. */
int med_metadata_parse(const void *data, size_t n, const char *object,
                       struct med_metadata *ret_metadata, struct bth_error *error) _must_check_;
int med_properties_parse(const void *data, size_t n, const char *object,
                         struct med_properties *ret_properties, struct bth_error *error)
        _must_check_;
void med_metadata_clear(struct med_metadata *m);
void med_properties_clear(struct med_properties *p);

/* Would the service take this as a metadata name? */
bool med_metadata_name_valid(const char *name);

/* Add the file as spec 3.4 shows it. Returns 0, -EINVAL for a name or value that could not be read
 * back, -ENOMEM. */
int med_metadata_write(struct bth_buf *out, const struct med_metadata *m) _must_check_;
int med_properties_write(struct bth_buf *out, const struct med_properties *p) _must_check_;
