/* SPDX-License-Identifier: GPL-3.0-or-later */
/* heard - collects findings for tests: names with lines in one text, whole sentences in another. */
#pragma once

#include <stdio.h>
#include <string.h>

#include "media/finding.h"

struct heard {
        unsigned n;
        char names[4096]; /* "name:line name:line …" */
        char texts[16384];
};

static inline void hear(void *userdata, const struct med_finding *f)
{
        struct heard *h = userdata;
        char one[2048];

        h->n++;
        (void)snprintf(h->names + strlen(h->names), sizeof h->names - strlen(h->names), "%s:%llu ",
                       f->name, (unsigned long long)f->line);
        med_finding_to_string(f, one, sizeof one);
        (void)snprintf(h->texts + strlen(h->texts), sizeof h->texts - strlen(h->texts), "%s\n",
                       one);
}
