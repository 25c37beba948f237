/* SPDX-License-Identifier: GPL-3.0-or-later */
/* finding - one complaint about a file that was read: where, what, what to do.
 * Readers of customers' files report everything they see, through a callback, instead of stopping
 * at the first; only what makes the file useless is returned as an error. */
#pragma once

#include "base/error.h"

enum med_severity {
        MED_SEVERITY_WARNING, /* the file is usable */
        MED_SEVERITY_ERROR,   /* the service would refuse it, or this part of it */
        _MED_SEVERITY_MAX,
        _MED_SEVERITY_INVALID = -EINVAL,
};

struct med_finding {
        enum med_severity severity;
        const char *name;     /* stable, kebab-case: for JSON and scripts */
        const char *object;   /* the file, as the caller named it */
        uint64_t line;        /* from 1; 0: none */
        const char *blob;     /* NULL: none */
        const char *sentence; /* what is wrong; hostile text in it is escaped */
        const char *advice;   /* what to do */
};

/* Pointers are valid during the call only. May be NULL where a function takes one. */
typedef void (*med_finding_fn)(void *userdata, const struct med_finding *finding);

struct med_findings {
        med_finding_fn fn; /* NULL: nobody listens */
        void *userdata;
        const char *object;
};

/* Reports one finding; the format's arguments may be hostile and are escaped. `to` may be NULL. */
void med_find(const struct med_findings *to, enum med_severity severity, const char *name,
              uint64_t line, const char *blob, const char *advice, const char *format, ...)
        _printf_(7, 8);

/* "FILE:12: blob 'x': error: SENTENCE. ADVICE. [name]" into `buffer`; NUL-terminated. Returns
 * `buffer`. */
char *med_finding_to_string(const struct med_finding *f, char *buffer, size_t size_bytes);
