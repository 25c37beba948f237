/* SPDX-License-Identifier: GPL-3.0-or-later */
/* driveset - five columns and the matrix between three of them. */
#include <string.h>

#include "media/driveset.h"
#include "media/journal.h"

enum column { DRIVE, FORMAT, PROMPT, ENCRYPTION, KEY, N_COLUMNS };

static const char *const names[N_COLUMNS] = { "DriveLetter", "FormatOption",
                                              "SilentOrPromptOnFormat", "Encryption",
                                              "ExistingBitLockerKey" };

struct reading {
        struct med_driveset *d;
        const struct med_findings *findings;
        const struct med_csv_row *row;
        int at[N_COLUMNS];
};

struct med_driveset *med_driveset_free(struct med_driveset *d)
{
        if (!d)
                return NULL;
        for (size_t i = 0; i < d->n_rows; i++) {
                free(d->rows[i].drive);
                (void)bth_secret_free(d->rows[i].key);
        }
        free(d->rows);
        free(d);
        return NULL;
}

static const char *cell(const struct reading *r, enum column c)
{
        return r->at[c] >= 0 && (size_t)r->at[c] < r->row->n_fields ? r->row->fields[r->at[c]] : "";
}

static int read_header(struct reading *r, struct bth_error *error)
{
        size_t found = 0;

        for (size_t c = 0; c < N_COLUMNS; c++) {
                r->at[c] = -1;
                for (size_t i = 0; i < r->row->n_fields; i++)
                        if (bth_ascii_casecmp(r->row->fields[i], names[c]) == 0)
                                r->at[c] = (int)i;
                found += r->at[c] >= 0;
        }
        if (found == r->row->n_fields && found >= N_COLUMNS - 1 && r->at[DRIVE] >= 0)
                return 0;
        bth_error_at(error, r->findings ? r->findings->object : NULL, r->row->line,
                     BTH_ERROR_NO_OFFSET);
        (void)bth_error_set(error, -EBADMSG, BTH_REASON_SYNTAX,
                            "the first line is no header of a drive set");
        bth_error_advise(error, "begin with DriveLetter,FormatOption,SilentOrPromptOnFormat,"
                                "Encryption,ExistingBitLockerKey");
        return -EBADMSG;
}

static void wrong(struct reading *r, const char *name, const char *advice, const char *what)
{
        r->d->n_errors++;
        med_find(r->findings, MED_SEVERITY_ERROR, name, r->row->line, NULL, advice,
                 "drive '%s': %s", cell(r, DRIVE), what);
}

/* One of two words; the first means true. */
static bool read_word(struct reading *r, enum column c, const char *yes, const char *no)
{
        const char *text = cell(r, c);
        bool is_yes = bth_ascii_casecmp(text, yes) == 0;

        if (!is_yes && bth_ascii_casecmp(text, no) != 0) {
                r->d->n_errors++;
                med_find(r->findings, MED_SEVERITY_ERROR, "driveset-value", r->row->line, NULL,
                         "use one of the two words", "column %s: '%s' is neither %s nor %s",
                         names[c], text, yes, no);
        } else if (strcmp(text, is_yes ? yes : no) != 0) {
                med_find(r->findings, MED_SEVERITY_WARNING, "driveset-case", r->row->line, NULL,
                         "write it as the tool's own samples do",
                         "column %s: '%s' is not in the usual case", names[c], text);
        }
        return is_yes;
}

static bool is_letter(const char *text)
{
        char c = (char)(text[0] | 0x20);

        return c >= 'a' && c <= 'z' && text[1] == '\0';
}

static int read_drive(struct reading *r, struct med_driveset_row *row)
{
        const char *text = cell(r, DRIVE);

        row->is_letter = is_letter(text);
        if (text[0] == '\0')
                wrong(r, "driveset-drive-missing", "give a device or image file",
                      "the column DriveLetter is empty");
        else if (is_letter((const char[]){ text[0], '\0' }) && strcmp(text + 1, ":") == 0)
                wrong(r, "driveset-drive-colon", "write the letter alone",
                      "a drive letter stands without colon");
        for (size_t i = 0; i < r->d->n_rows; i++)
                if (row->is_letter ? bth_ascii_casecmp(r->d->rows[i].drive, text) == 0
                                   : strcmp(r->d->rows[i].drive, text) == 0)
                        wrong(r, "driveset-drive-twice", "name each drive once",
                              "the drive is named twice");
        row->drive = strdup(text);
        return row->drive ? 0 : -ENOMEM;
}

/* The matrix of specification 4.5. */
static int read_key(struct reading *r, struct med_driveset_row *row)
{
        const char *text = cell(r, KEY);
        const size_t n = strlen(text);
        unsigned group;

        if (row->format && !row->encrypt)
                wrong(r, "driveset-matrix", "use Format with Encrypt",
                      "a drive cannot be formatted and stay encrypted");
        if (row->encrypt && n > 0)
                wrong(r, "driveset-key-given", "leave ExistingBitLockerKey empty",
                      "a drive that will be encrypted has no key yet");
        if (!row->encrypt && !row->format && n == 0)
                wrong(r, "driveset-key-missing", "give the key of the drive",
                      "an encrypted drive needs its ExistingBitLockerKey");
        if (n == 0)
                return 0;
        switch (med_key_form_of(text, n, &group)) {
        case MED_KEY_FORM_REDACTED:
        case MED_KEY_FORM_UNKNOWN:
                wrong(r, "driveset-key-form",
                      "a key has eight groups of six digits, or is base64 of 32 bytes",
                      "the ExistingBitLockerKey has no known form");
                break;
        default:
                if (group == 0)
                        break;
                med_find(r->findings, MED_SEVERITY_WARNING, "bitlocker-key-group", r->row->line,
                         NULL, "compare the key with the one that was printed or saved",
                         "drive '%s': group %u of the key is not a valid group", row->drive, group);
        }
        return bth_secret_new_copy(text, n, &row->key);
}

static int read_row(struct reading *r)
{
        struct med_driveset *d = r->d;
        struct med_driveset_row row = { .line = r->row->line }, *grown = NULL;
        int e = read_drive(r, &row);

        if (r->row->n_fields > N_COLUMNS)
                wrong(r, "driveset-columns", "quote a path that has a comma",
                      "the row has more than five columns");
        row.format = read_word(r, FORMAT, "Format", "AlreadyFormatted");
        row.prompt = read_word(r, PROMPT, "PromptOnFormat", "SilentMode");
        row.encrypt = read_word(r, ENCRYPTION, "Encrypt", "AlreadyEncrypted");
        if (e == 0)
                e = read_key(r, &row);
        if (e == 0) {
                grown = reallocarray(d->rows, d->n_rows + 1, sizeof *grown);
                e = grown ? 0 : -ENOMEM;
        }
        if (e < 0) {
                free(row.drive);
                (void)bth_secret_free(row.key);
                return e;
        }
        d->rows = grown;
        d->rows[d->n_rows++] = row;
        return 0;
}

static void check_count(const struct med_driveset *d, const struct med_findings *findings)
{
        if (d->n_rows > MED_DRIVESET_JOB_DRIVES)
                med_find(findings, MED_SEVERITY_WARNING, "driveset-many-drives", 0, NULL,
                         "make a job for each ten drives",
                         "the set has %zu drives, and one job takes ten", d->n_rows);
}

int med_driveset_parse(const char *text, size_t n, const struct med_findings *findings,
                       struct med_driveset **ret_driveset, struct bth_error *error)
{
        _cleanup_(med_driveset_freep) struct med_driveset *d = calloc(1, sizeof *d);
        _cleanup_(med_csv_freep) struct med_csv *csv = NULL;
        struct med_csv_row row = { 0 };
        struct reading r = { .d = d, .findings = findings, .row = &row };
        int e;

        if (!d)
                return -ENOMEM;
        e = med_csv_new(text, n, findings, &csv, error);
        if (e == 0)
                e = med_csv_next(csv, &row, error);
        if (e < 0)
                return e;
        if (e == 0)
                row = (struct med_csv_row){ .line = 1 };
        e = read_header(&r, error);
        while (e >= 0 && (e = med_csv_next(csv, &row, error)) > 0) {
                if (d->n_rows == MED_DRIVESET_MAX_ROWS) {
                        bth_error_at(error, findings ? findings->object : NULL, row.line,
                                     BTH_ERROR_NO_OFFSET);
                        return bth_error_set(error, -EBADMSG, BTH_REASON_LIMIT_EXCEEDED,
                                             "the drive set has more than 250 rows");
                }
                e = read_row(&r);
        }
        if (e < 0)
                return e;
        if (d->n_rows == 0) {
                d->n_errors++;
                med_find(findings, MED_SEVERITY_ERROR, "driveset-empty", 0, NULL,
                         "add a row for each drive", "the drive set has no rows");
        }
        check_count(d, findings);
        *ret_driveset = take_ptr(d);
        return 0;
}

int med_driveset_write(struct bth_buf *out, const struct med_driveset *d)
{
        int r = med_csv_write_row(out, names, N_COLUMNS);

        for (size_t i = 0; r == 0 && i < d->n_rows; i++) {
                const struct med_driveset_row *row = &d->rows[i];
                const char *fields[N_COLUMNS] = {
                        row->drive,
                        row->format ? "Format" : "AlreadyFormatted",
                        row->prompt ? "PromptOnFormat" : "SilentMode",
                        row->encrypt ? "Encrypt" : "AlreadyEncrypted",
                        row->key ? (const char *)row->key->data : "",
                };

                r = med_csv_write_row(out, fields, N_COLUMNS);
        }
        return r;
}
