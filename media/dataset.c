/* SPDX-License-Identifier: GPL-3.0-or-later */
/* dataset - header, then cell by cell. */
#include <string.h>

#include "media/dataset.h"

enum column {
        COLUMN_BASE,
        COLUMN_DESTINATION,
        COLUMN_TYPE,
        COLUMN_DISPOSITION,
        COLUMN_METADATA,
        COLUMN_PROPERTIES,
        N_COLUMNS,
};

static const struct {
        const char *names[N_COLUMNS];
        size_t n;
} headers[] = {
        [MED_DATASET_A] = { { "BasePath", "DstBlobPathOrPrefix", "BlobType", "Disposition",
                              "MetadataFile", "PropertiesFile" },
                            6 },
        [MED_DATASET_B] = { { "BasePath", "DstItemPathOrPrefix", "ItemType", "Disposition",
                              "MetadataFile", "PropertiesFile" },
                            6 },
        [MED_DATASET_C] = { { "BasePath", "DstItemPathOrPrefix", "ItemType" }, 3 },
};

struct reading {
        struct med_dataset *d;
        const struct med_findings *findings;
        const struct med_csv_row *row;
        int at[N_COLUMNS]; /* position of each column, or -1 */
};

static void clear_row(struct med_dataset_row *r)
{
        free(r->base_path);
        free(r->destination);
        med_destination_clear(&r->parts);
        free(r->metadata_file);
        free(r->properties_file);
}

struct med_dataset *med_dataset_free(struct med_dataset *d)
{
        if (!d)
                return NULL;
        for (size_t i = 0; i < d->n_rows; i++)
                clear_row(&d->rows[i]);
        free(d->rows);
        free(d);
        return NULL;
}

static const char *column_name(const struct reading *r, enum column c)
{
        return headers[r->d->generation].names[c];
}

static const char *cell(const struct reading *r, enum column c)
{
        return r->at[c] >= 0 && (size_t)r->at[c] < r->row->n_fields ? r->row->fields[r->at[c]] : "";
}

static void wrong(struct reading *r, enum column c, const char *name, const char *what,
                  const char *allowed)
{
        r->d->n_errors++;
        med_find(r->findings, MED_SEVERITY_ERROR, name, r->row->line, NULL, allowed,
                 "column %s: '%s' %s", column_name(r, c), cell(r, c), what);
}

static void note_case(struct reading *r, enum column c)
{
        med_find(r->findings, MED_SEVERITY_WARNING, "dataset-case", r->row->line, NULL,
                 "write it as the tool's own samples do",
                 "column %s: '%s' is not in the usual case", column_name(r, c), cell(r, c));
}

/* -- header
 * ------------------------------------------------------------------------------------------ */

static bool header_fits(const struct med_csv_row *row, enum med_dataset_generation g,
                        int at[N_COLUMNS])
{
        size_t found = 0;

        for (size_t c = 0; c < N_COLUMNS; c++) {
                at[c] = -1;
                for (size_t i = 0; c < headers[g].n && i < row->n_fields; i++)
                        if (bth_ascii_casecmp(row->fields[i], headers[g].names[c]) == 0)
                                at[c] = (int)i;
                found += at[c] >= 0;
        }
        return found == row->n_fields && at[COLUMN_BASE] >= 0 && at[COLUMN_DESTINATION] >= 0;
}

static int read_header(struct reading *r, const struct med_csv_row *row, struct bth_error *error)
{
        /* C is a part of B: the shorter header must be tried first. */
        static const enum med_dataset_generation order[] = { MED_DATASET_C, MED_DATASET_B,
                                                             MED_DATASET_A };

        for (size_t i = 0; i < ARRAY_SIZE(order); i++)
                if (header_fits(row, order[i], r->at)) {
                        r->d->generation = order[i];
                        return 0;
                }
        bth_error_at(error, r->findings ? r->findings->object : NULL, row->line,
                     BTH_ERROR_NO_OFFSET);
        (void)bth_error_set(error, -EBADMSG, BTH_REASON_SYNTAX,
                            "the first line is no header of a data set");
        bth_error_advise(error, "begin with BasePath,DstItemPathOrPrefix,ItemType,Disposition,"
                                "MetadataFile,PropertiesFile");
        return -EBADMSG;
}

/* -- cells
 * ------------------------------------------------------------------------------------------- */

static int read_base(struct reading *r, struct med_dataset_row *row)
{
        const char *text = cell(r, COLUMN_BASE);
        const size_t n = strlen(text);

        if (n == 0)
                wrong(r, COLUMN_BASE, "dataset-base-missing", "is empty",
                      "give the absolute path of a file or folder");
        else if (strpbrk(text, "*?") && text[0] != '/')
                wrong(r, COLUMN_BASE, "dataset-base-wildcard", "has a wildcard",
                      "name a folder, with a separator at its end, or one file");
        row->is_folder = n > 0 && (text[n - 1] == '/' || text[n - 1] == '\\');
        row->base_path = strdup(text);
        return row->base_path ? 0 : -ENOMEM;
}

static int read_destination(struct reading *r, struct med_dataset_row *row)
{
        const char *text = cell(r, COLUMN_DESTINATION);
        struct bth_error error = BTH_ERROR_INIT;
        int e = med_destination_parse(text, &row->parts, &error);

        if (e == -ENOMEM)
                return e;
        if (e < 0) {
                r->d->n_errors++;
                med_find(r->findings, MED_SEVERITY_ERROR, "dataset-destination", r->row->line, NULL,
                         "write container/, container/folder/ or container/name", "column %s: %s",
                         column_name(r, COLUMN_DESTINATION), error.sentence);
        } else if (row->is_folder && !row->parts.is_prefix) {
                wrong(r, COLUMN_DESTINATION, "dataset-destination-prefix",
                      "is the destination of a folder and does not end with '/'",
                      "add a '/' at its end");
        } else if (row->base_path[0] != '\0' && row->parts.is_prefix && !row->is_folder &&
                   row->parts.rest[0] == '\0' && strcmp(row->parts.container, "$root") != 0) {
                med_find(r->findings, MED_SEVERITY_WARNING, "dataset-file-to-prefix", r->row->line,
                         NULL, "write container/name to name the blob",
                         "column %s: '%s' names no blob; the file's own name is used",
                         column_name(r, COLUMN_DESTINATION), text);
        }
        row->destination = strdup(text);
        return row->destination ? 0 : -ENOMEM;
}

static void read_type(struct reading *r, struct med_dataset_row *row)
{
        static const struct {
                const char *text;
                enum med_item_kind kind;
        } words[] = {
                { "BlockBlob", MED_ITEM_BLOCK }, { "PageBlob", MED_ITEM_PAGE },
                { "block", MED_ITEM_BLOCK },     { "page", MED_ITEM_PAGE },
                { "file", MED_ITEM_FILE },
        };
        const char *text = cell(r, COLUMN_TYPE);
        const char *allowed = r->d->generation == MED_DATASET_A ? "allowed: BlockBlob, PageBlob"
                              : r->d->generation == MED_DATASET_B
                                      ? "allowed: BlockBlob, PageBlob, file"
                                      : "allowed in this generation: file";

        row->kind = MED_ITEM_AUTO;
        for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
                if (bth_ascii_casecmp(text, words[i].text) != 0)
                        continue;
                if (strcmp(text, words[i].text) != 0)
                        note_case(r, COLUMN_TYPE);
                row->kind = words[i].kind;
                if ((row->kind == MED_ITEM_FILE && r->d->generation == MED_DATASET_A) ||
                    (row->kind != MED_ITEM_FILE && r->d->generation == MED_DATASET_C))
                        wrong(r, COLUMN_TYPE, "dataset-type", "is not allowed here", allowed);
                return;
        }
        if (text[0] != '\0')
                wrong(r, COLUMN_TYPE, "dataset-type", "is not known", allowed);
        else if (r->d->generation == MED_DATASET_C)
                wrong(r, COLUMN_TYPE, "dataset-type", "is empty", allowed);
}

static void read_disposition(struct reading *r, struct med_dataset_row *row)
{
        const char *text = cell(r, COLUMN_DISPOSITION);

        row->disposition = BTH_DISPOSITION_RENAME;
        if (text[0] == '\0')
                return;
        for (int i = 0; i < _BTH_DISPOSITION_MAX; i++) {
                const char *word = bth_disposition_to_string((enum bth_disposition)i);

                if (bth_ascii_casecmp(text, word) != 0)
                        continue;
                if (strcmp(text, word) != 0)
                        note_case(r, COLUMN_DISPOSITION);
                row->disposition = (enum bth_disposition)i;
                row->has_disposition = true;
                return;
        }
        wrong(r, COLUMN_DISPOSITION, "dataset-disposition", "is not known",
              "allowed: rename, no-overwrite, overwrite");
}

static int read_sidecar(struct reading *r, enum column c, char **ret_path)
{
        const char *text = cell(r, c);

        if (text[0] == '\0' || bth_ascii_casecmp(text, "None") == 0)
                return 0;
        *ret_path = strdup(text);
        return *ret_path ? 0 : -ENOMEM;
}

static int read_row(struct reading *r)
{
        struct med_dataset *d = r->d;
        struct med_dataset_row row = { .line = r->row->line }, *grown;
        int e;

        if (d->n_rows == MED_DATASET_MAX_ROWS)
                return -EBADMSG;
        if (r->row->n_fields > headers[d->generation].n) {
                d->n_errors++;
                med_find(r->findings, MED_SEVERITY_ERROR, "dataset-columns", r->row->line, NULL,
                         "quote a path that has a comma", "the row has %zu columns, its header %zu",
                         r->row->n_fields, headers[d->generation].n);
        }
        e = read_base(r, &row);
        if (e == 0)
                e = read_destination(r, &row);
        read_type(r, &row);
        read_disposition(r, &row);
        if (e == 0)
                e = read_sidecar(r, COLUMN_METADATA, &row.metadata_file);
        if (e == 0)
                e = read_sidecar(r, COLUMN_PROPERTIES, &row.properties_file);
        grown = e == 0 ? reallocarray(d->rows, d->n_rows + 1, sizeof *grown) : NULL;
        if (!grown) {
                clear_row(&row);
                return -ENOMEM;
        }
        d->rows = grown;
        d->rows[d->n_rows++] = row;
        return 0;
}

int med_dataset_parse(const char *text, size_t n, const struct med_findings *findings,
                      struct med_dataset **ret_dataset, struct bth_error *error)
{
        _cleanup_(med_dataset_freep) struct med_dataset *d = calloc(1, sizeof *d);
        _cleanup_(med_csv_freep) struct med_csv *csv = NULL;
        struct med_csv_row row = { 0 };
        struct reading r = { .d = d, .findings = findings, .row = &row };
        int e;

        if (!d)
                return -ENOMEM;
        e = med_csv_new(text, n, findings, &csv, error);
        if (e < 0)
                return e;
        e = med_csv_next(csv, &row, error);
        if (e == 0)
                row = (struct med_csv_row){ .line = 1 };
        if (e >= 0)
                e = read_header(&r, &row, error);
        while (e >= 0 && (e = med_csv_next(csv, &row, error)) > 0) {
                e = read_row(&r);
                if (e == -EBADMSG) {
                        bth_error_at(error, findings ? findings->object : NULL, row.line,
                                     BTH_ERROR_NO_OFFSET);
                        return bth_error_set(error, e, BTH_REASON_LIMIT_EXCEEDED,
                                             "the data set has more than %d rows",
                                             MED_DATASET_MAX_ROWS);
                }
        }
        if (e < 0)
                return e;
        if (d->n_rows == 0) {
                d->n_errors++;
                med_find(findings, MED_SEVERITY_ERROR, "dataset-empty", 0, NULL,
                         "add a row for each file or folder", "the data set has no rows");
        }
        *ret_dataset = take_ptr(d);
        return 0;
}

static const char *kind_text(enum med_item_kind kind)
{
        static const char *const texts[] = { "", "BlockBlob", "PageBlob", "file" };

        return texts[kind];
}

int med_dataset_write(struct bth_buf *out, const struct med_dataset *d)
{
        const size_t columns = headers[d->generation].n;
        int r = med_csv_write_row(out, headers[d->generation].names, columns);

        for (size_t i = 0; r == 0 && i < d->n_rows; i++) {
                const struct med_dataset_row *row = &d->rows[i];
                const char *fields[N_COLUMNS] = {
                        row->base_path,
                        row->destination,
                        kind_text(row->kind),
                        row->has_disposition ? bth_disposition_to_string(row->disposition) : "",
                        row->metadata_file ? row->metadata_file : "None",
                        row->properties_file ? row->properties_file : "None",
                };

                if (columns == 3 && (row->has_disposition || row->metadata_file ||
                                     row->properties_file || row->kind != MED_ITEM_FILE))
                        return -EINVAL;
                if (d->generation == MED_DATASET_A && row->kind == MED_ITEM_FILE)
                        return -EINVAL;
                r = med_csv_write_row(out, fields, columns);
        }
        return r;
}
