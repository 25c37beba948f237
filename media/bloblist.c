/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bloblist - up to two roots, flat children. */
#include <string.h>

#include "media/bloblist.h"
#include "media/naming.h"
#include "media/xml.h"

#define PATH_MAX_BYTES 8192

static const char *const element_names[] = { "BlobPath", "BlobPathPrefix", "FilePath",
                                             "FilePathPrefix" };

struct reading {
        struct med_bloblist *l;
        const struct med_findings *findings;
        struct bth_error *error;
        size_t n_allocated;
        unsigned depth;
        bool any_root;
        struct med_selector now;
        bool open; /* `now` is under way */
        struct bth_buf text;
};

static void clear_selector(struct med_selector *s)
{
        free(s->path);
        free(s->snapshot);
        *s = (struct med_selector){ 0 };
}

struct med_bloblist *med_bloblist_free(struct med_bloblist *l)
{
        if (!l)
                return NULL;
        for (size_t i = 0; i < l->n_selectors; i++)
                clear_selector(&l->selectors[i]);
        free(l->selectors);
        free(l);
        return NULL;
}

static int fail(struct reading *r, uint64_t line, enum bth_reason reason, const char *what)
{
        bth_error_at(r->error, r->findings ? r->findings->object : NULL, line, BTH_ERROR_NO_OFFSET);
        return bth_error_set(r->error, -EBADMSG, reason, "%s", what);
}

static int read_attributes(struct reading *r, const struct med_xml_attributes *a, uint64_t line)
{
        for (size_t i = 0; i < a->n; i++) {
                size_t n;
                const char *value = med_xml_attribute_value(a, i, &n);
                const char *name = med_xml_attribute_name(a, i);

                if (bth_ascii_casecmp(name, "SnapshotTime") == 0) {
                        free(r->now.snapshot);
                        r->now.snapshot = strndup(value, n);
                        if (!r->now.snapshot)
                                return -ENOMEM;
                } else if (bth_ascii_casecmp(name, "IncludeSnapshots") == 0) {
                        r->now.no_snapshots = n == 5 && strncasecmp(value, "false", 5) == 0;
                        if (!r->now.no_snapshots && (n != 4 || strncasecmp(value, "true", 4) != 0))
                                med_find(r->findings, MED_SEVERITY_WARNING, "bloblist-value", line,
                                         NULL, "write true or false",
                                         "IncludeSnapshots='%.*s' is taken to be true",
                                         (int)MIN(n, (size_t)64), value);
                } else {
                        med_find(r->findings, MED_SEVERITY_WARNING, "bloblist-unknown-attribute",
                                 line, NULL, "nothing: it has no effect",
                                 "the attribute '%s' is not known", name);
                }
        }
        return 0;
}

static int on_start(void *userdata, const char *name, const struct med_xml_attributes *a,
                    uint64_t line)
{
        struct reading *r = userdata;

        if (r->depth++ == 0) {
                if (bth_ascii_casecmp(name, "BlobList") != 0 &&
                    bth_ascii_casecmp(name, "AzureFileList") != 0)
                        return fail(r, line, BTH_REASON_SYNTAX,
                                    "this is neither a BlobList nor an AzureFileList");
                r->any_root = true;
                return 0;
        }
        if (r->depth > 2)
                return fail(r, line, BTH_REASON_SYNTAX, "an element stands inside a path");
        for (size_t i = 0; i < ARRAY_SIZE(element_names); i++) {
                if (bth_ascii_casecmp(name, element_names[i]) != 0)
                        continue;
                if (strcmp(name, element_names[i]) != 0)
                        med_find(r->findings, MED_SEVERITY_WARNING, "bloblist-case", line, NULL,
                                 "write it exactly so; Data Box compares the case",
                                 "the element '%s' is written '%s'", element_names[i], name);
                r->now = (struct med_selector){ .kind = (enum med_selector_kind)i, .line = line };
                r->open = true;
                r->text.length = 0;
                return read_attributes(r, a, line);
        }
        med_find(r->findings, MED_SEVERITY_WARNING, "bloblist-unknown-element", line, NULL,
                 "nothing: it has no effect", "the element '%s' is not known", name);
        return 0;
}

static int on_text(void *userdata, const char *text, size_t n)
{
        struct reading *r = userdata;

        if (!r->open)
                return 0;
        if (r->text.length + n > PATH_MAX_BYTES)
                return fail(r, r->now.line, BTH_REASON_TOO_LARGE, "a path is longer than 8 KiB");
        return bth_buf_add(&r->text, text, n);
}

static int normalise(struct med_selector *s, const char *text, size_t n)
{
        med_xml_trim_layout(&text, &n);
        if (s->kind == MED_SELECT_BLOB && n > 0 && *text == '/') {
                text++;
                n--;
        }
        s->path = strndup(text, n);
        return s->path ? 0 : -ENOMEM;
}

/* Why the selector can choose nothing, or NULL. */
static const char *fault_of(const struct med_selector *s)
{
        _cleanup_free_ char *container = NULL, *name = NULL;

        if (s->kind != MED_SELECT_BLOB)
                return s->path[0] == '/' ? NULL : "must begin with '/'";
        return med_blob_path_split(s->path, &container, &name) < 0
                       ? "must have a container, '/' and a name"
                       : NULL;
}

static int on_end(void *userdata, const char *name, uint64_t line)
{
        struct reading *r = userdata;
        struct med_bloblist *l = r->l;
        const char *fault;
        int e;

        r->depth--;
        if (!r->open)
                return 0;
        r->open = false;
        e = normalise(&r->now, r->text.data ? r->text.data : "", r->text.length);
        if (e < 0)
                return e;
        fault = fault_of(&r->now);
        if (fault) {
                l->n_errors++;
                med_find(r->findings, MED_SEVERITY_ERROR, "bloblist-path", r->now.line, NULL,
                         "correct the path; it would select nothing", "%s '%s' %s",
                         element_names[r->now.kind], r->now.path, fault);
                clear_selector(&r->now);
                return 0;
        }
        if (l->n_selectors == MED_BLOBLIST_MAX_ENTRIES)
                return fail(r, line, BTH_REASON_LIMIT_EXCEEDED, "more than 1,000,000 entries");
        if (l->n_selectors == r->n_allocated) {
                size_t grown = MAX(r->n_allocated * 2, (size_t)64);
                struct med_selector *p = reallocarray(l->selectors, grown, sizeof *p);

                if (!p)
                        return -ENOMEM;
                l->selectors = p;
                r->n_allocated = grown;
        }
        l->selectors[l->n_selectors++] = r->now;
        r->now = (struct med_selector){ 0 };
        return 0;
}

int med_bloblist_parse(const void *data, size_t n, const struct med_findings *findings,
                       struct med_bloblist **ret_list, struct bth_error *error)
{
        static const struct med_xml_handler handler = { on_start, on_text, on_end };
        _cleanup_(med_bloblist_freep) struct med_bloblist *l = calloc(1, sizeof *l);
        struct reading r = { .l = l, .findings = findings, .error = error };
        const char *object = findings ? findings->object : NULL;
        int e;

        if (!l)
                return -ENOMEM;
        if (n > MED_BLOBLIST_MAX_BYTES) {
                bth_error_at(error, object, 0, BTH_ERROR_NO_OFFSET);
                return bth_error_set(error, -EFBIG, BTH_REASON_TOO_LARGE,
                                     "the list has %zu bytes; at most %zu are read", n,
                                     MED_BLOBLIST_MAX_BYTES);
        }
        e = med_xml_parse(data, n, &handler, &r, object, MED_XML_FRAGMENTS, error);
        if (e == 0 && !r.any_root)
                e = fail(&r, 0, BTH_REASON_SYNTAX, "there is no BlobList in the file");
        clear_selector(&r.now);
        bth_buf_clear(&r.text);
        if (e == 0)
                *ret_list = take_ptr(l);
        return e;
}

static bool matches_prefix(const char *prefix, const char *container, const char *name)
{
        const size_t n = strlen(prefix), c = strlen(container);

        /* Compared with "/" container "/" name, without building it. */
        if (n == 0 || prefix[0] != '/')
                return false;
        if (n - 1 <= c)
                return strncmp(prefix + 1, container, n - 1) == 0;
        return strncmp(prefix + 1, container, c) == 0 && prefix[1 + c] == '/' &&
               strncmp(prefix + 2 + c, name, n - 2 - c) == 0;
}

bool med_selector_matches(const struct med_selector *s, const char *container, const char *name,
                          const char *snapshot)
{
        const size_t c = strlen(container);

        if (s->kind == MED_SELECT_BLOB_PREFIX)
                return matches_prefix(s->path, container, name);
        if (s->kind != MED_SELECT_BLOB || strncmp(s->path, container, c) != 0 ||
            s->path[c] != '/' || strcmp(s->path + c + 1, name) != 0)
                return false;
        if (s->snapshot)
                return snapshot && strcmp(s->snapshot, snapshot) == 0;
        return !snapshot || !s->no_snapshots;
}

static int write_selector(struct bth_buf *out, const struct med_selector *s, bool data_box)
{
        const char *name = element_names[s->kind];
        int r = bth_buf_add_format(out, "  <%s", name);

        if (r == 0 && s->snapshot) {
                r = bth_buf_add_string(out, " SnapshotTime=\"");
                if (r == 0)
                        r = bth_buf_add_xml(out, s->snapshot);
                if (r == 0)
                        r = bth_buf_add_string(out, "\"");
        } else if (r == 0 && s->no_snapshots) {
                r = bth_buf_add_string(out, " IncludeSnapshots=\"false\"");
        }
        if (r == 0)
                r = bth_buf_add_string(out, data_box && s->kind == MED_SELECT_BLOB ? ">/" : ">");
        if (r == 0)
                r = bth_buf_add_xml(out, s->path);
        return r < 0 ? r : bth_buf_add_format(out, "</%s>\n", name);
}

static int write_root(struct bth_buf *out, const struct med_bloblist *l, const char *root,
                      bool files, bool data_box)
{
        int r = bth_buf_add_format(out, "<%s>\n", root);

        for (size_t i = 0; r == 0 && i < l->n_selectors; i++)
                if ((l->selectors[i].kind >= MED_SELECT_FILE) == files)
                        r = write_selector(out, &l->selectors[i], data_box);
        return r < 0 ? r : bth_buf_add_format(out, "</%s>\n", root);
}

int med_bloblist_write(struct bth_buf *out, const struct med_bloblist *l, bool data_box)
{
        bool any_file = false;
        int r;

        for (size_t i = 0; i < l->n_selectors; i++)
                any_file |= l->selectors[i].kind >= MED_SELECT_FILE;
        if (any_file && !data_box)
                return -EINVAL;
        r = bth_buf_add_string(out, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n");
        if (r == 0)
                r = write_root(out, l, "BlobList", false, data_box);
        return r < 0 || !any_file ? r : write_root(out, l, "AzureFileList", true, data_box);
}
