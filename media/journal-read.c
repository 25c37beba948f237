/* SPDX-License-Identifier: GPL-3.0-or-later */
/* journal-read - records, or XML, into fields and drives. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/utf.h"
#include "media/journal.h"
#include "media/xml.h"

#define KEY_MAX_BYTES     256
#define ELEMENT_MAX_BYTES 65536

static const char *const key_forms[] = { "none", "numerical", "external", "redacted", "unknown" };

const char *med_key_form_to_string(enum med_key_form form)
{
        return (size_t)form < ARRAY_SIZE(key_forms) ? key_forms[form] : NULL;
}

/* -- keys
 * -------------------------------------------------------------------------------------------- */

static bool all_of(const char *text, size_t n, char c)
{
        for (size_t i = 0; i < n; i++)
                if (text[i] != c)
                        return false;
        return n > 0;
}

static bool has_numerical_shape(const char *key, size_t n)
{
        if (n != 55)
                return false;
        for (size_t i = 0; i < n; i++)
                if (i % 7 == 6 ? key[i] != '-' : key[i] < '0' || key[i] > '9')
                        return false;
        return true;
}

enum med_key_form med_key_form_of(const char *key, size_t n, unsigned *ret_group)
{
        uint8_t bytes[64];
        size_t k;

        *ret_group = 0;
        if (n == 0)
                return MED_KEY_FORM_NONE;
        if (all_of(key, n, '*'))
                return MED_KEY_FORM_REDACTED;
        if (has_numerical_shape(key, n)) {
                for (unsigned group = 0; group < 8; group++) {
                        uint64_t v = 0;

                        if (bth_parse_u64_n(key + 7 * group, 6, &v) < 0 || v % 11 != 0 ||
                            v >= 720896) {
                                *ret_group = group + 1;
                                break;
                        }
                }
                return MED_KEY_FORM_NUMERICAL;
        }
        if (n <= 80 && bth_base64_decode(key, n, bytes, &k) == 0) {
                bth_wipe(bytes, sizeof bytes);
                return MED_KEY_FORM_EXTERNAL;
        }
        return MED_KEY_FORM_UNKNOWN;
}

/* -- the journal under construction
 * ------------------------------------------------------------------ */

struct reading {
        struct med_journal *j;
        const struct med_findings *findings;
        struct bth_error *error;
        size_t n_allocated;
        bool transcoded; /* the text was UTF-16, so what XML declares of it is no longer true */
};

static int too_much(struct reading *r, const char *what)
{
        return bth_error_set(r->error, -EBADMSG, BTH_REASON_LIMIT_EXCEEDED, "%s", what);
}

static void clear_drive(struct med_journal_drive *d)
{
        free(d->drive_id);
        (void)bth_secret_free(d->bitlocker_key);
        free(d->manifest_file);
        free(d->manifest_hash);
        free(d->drive_header_hash);
        *d = (struct med_journal_drive){ 0 };
}

struct med_journal *med_journal_free(struct med_journal *j)
{
        if (!j)
                return NULL;
        for (size_t i = 0; i < j->n_drives; i++)
                clear_drive(&j->drives[i]);
        free(j->drives);
        free(j->fields);
        free(j->vocabulary);
        (void)bth_secret_free(j->text);
        free(j);
        return NULL;
}

static const struct {
        const char *key;
        bool secret;
} vocabulary[] = {
        { "VocabularyVersion", false }, { "ActivityId", false },
        { "LogDirectory", false },      { "DriveState", true },
        { "SaveCommandOutput", false }, { "StorageAccountKey", true },
};

/* A key we do not know may hold a credential: V1 stored a SAS under an unknown name. */
static bool looks_secret(const char *key)
{
        static const char *const parts[] = { "Key", "key", "Sas", "SAS", "Secret", "Password" };

        for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
                if (strstr(key, parts[i]))
                        return true;
        return false;
}

static int add_field(struct reading *r, struct med_journal_field f)
{
        struct med_journal *j = r->j;

        if (j->n_fields == MED_JOURNAL_MAX_FIELDS)
                return too_much(r, "the journal has more than 200,000 fields");
        if (j->n_fields == r->n_allocated) {
                size_t grown = MAX(r->n_allocated * 2, (size_t)32);
                struct med_journal_field *p = reallocarray(j->fields, grown, sizeof *p);

                if (!p)
                        return -ENOMEM;
                j->fields = p;
                r->n_allocated = grown;
        }
        f.known = bth_starts_with(f.key, "Berth");
        f.secret = f.key[0] == '\0' || looks_secret(f.key); /* a stray line may be anything */
        for (size_t i = 0; i < ARRAY_SIZE(vocabulary); i++)
                if (strcmp(f.key, vocabulary[i].key) == 0) {
                        f.known = true;
                        f.secret = vocabulary[i].secret;
                }
        j->fields[j->n_fields++] = f;
        return 0;
}

/* -- drives
 * ------------------------------------------------------------------------------------------ */

/* Collects the children of one <Drive>. */
struct drive_reader {
        struct reading *reading;
        struct bth_buf text; /* wiped, it may be the key */
        struct med_journal_drive drive;
        uint64_t line_offset; /* of the XML in the journal */
        bool inside;
        int depth;
};

static void wipe_text(struct drive_reader *d)
{
        bth_wipe(d->text.data, d->text.allocated);
        d->text.length = 0;
}

static void trim(const char **text, size_t *n)
{
        while (*n > 0 && strchr(" \t\r\n", **text)) {
                (*text)++;
                (*n)--;
        }
        while (*n > 0 && strchr(" \t\r\n", (*text)[*n - 1]))
                (*n)--;
}

static int on_drive_start(void *userdata, const char *name, const struct med_xml_attributes *a,
                          uint64_t line)
{
        struct drive_reader *d = userdata;

        if (!d->inside) {
                if (strcmp(name, "Drive") != 0)
                        return 0;
                d->inside = true;
                d->depth = 0;
                d->drive.line = line + d->line_offset;
                return 0;
        }
        if (d->depth++ == 0)
                wipe_text(d);
        return 0;
}

static int on_drive_text(void *userdata, const char *text, size_t n)
{
        struct drive_reader *d = userdata;
        char *old = d->text.data;
        size_t allocated = d->text.allocated;

        if (!d->inside || d->depth != 1)
                return 0;
        if (d->text.length + n > ELEMENT_MAX_BYTES)
                return too_much(d->reading, "an element of a drive is longer than 64 KiB");
        if (d->text.length + n + 1 > allocated) {
                /* Grow by hand: realloc() would leave a piece of the key behind. */
                struct bth_buf grown = BTH_BUF_INIT;
                int r = bth_buf_reserve(&grown, 2 * (d->text.length + n) + 256);

                if (r == 0)
                        r = bth_buf_add(&grown, old ? old : "", d->text.length);
                if (r < 0)
                        return r;
                bth_wipe(old, allocated);
                bth_buf_clear(&d->text);
                d->text = grown;
        }
        return bth_buf_add(&d->text, text, n);
}

static int set_copy(char **field, const char *text, size_t n)
{
        char *copy = strndup(text, n);

        if (!copy)
                return -ENOMEM;
        free(*field);
        *field = copy;
        return 0;
}

static int set_drive_id(struct drive_reader *d, const char *text, size_t n)
{
        char *id = calloc(1, n + 1);
        size_t k = 0;

        if (!id)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                if (!strchr(" \t\r\n", text[i]))
                        id[k++] = text[i];
        if (k < n)
                med_find(d->reading->findings, MED_SEVERITY_WARNING, "drive-id-blanks",
                         d->drive.line, NULL, "write the serial number without blanks",
                         "the DriveId has blanks, which are left out");
        free(d->drive.drive_id);
        d->drive.drive_id = id;
        return 0;
}

static int take_element(struct drive_reader *d, const char *name)
{
        const char *text = d->text.data ? d->text.data : "";
        size_t n = d->text.length;
        int r = 0;

        trim(&text, &n);
        if (strcmp(name, "DriveId") == 0) {
                r = set_drive_id(d, text, n);
        } else if (strcmp(name, "BitLockerKey") == 0) {
                d->drive.bitlocker_key = bth_secret_free(d->drive.bitlocker_key);
                if (n > 0)
                        r = bth_secret_new_copy(text, n, &d->drive.bitlocker_key);
        } else if (n > 0 && strcmp(name, "ManifestFile") == 0) {
                r = set_copy(&d->drive.manifest_file, text, n);
        } else if (n > 0 && strcmp(name, "ManifestHash") == 0) {
                r = set_copy(&d->drive.manifest_hash, text, n);
        } else if (n > 0 && strcmp(name, "DriveHeaderHash") == 0) {
                r = set_copy(&d->drive.drive_header_hash, text, n);
        }
        wipe_text(d);
        return r;
}

static void check_key(struct drive_reader *d)
{
        struct med_journal_drive *drive = &d->drive;
        const struct med_findings *to = d->reading->findings;
        unsigned group = 0;

        drive->key_form = drive->bitlocker_key
                                  ? med_key_form_of((const char *)drive->bitlocker_key->data,
                                                    drive->bitlocker_key->length_bytes, &group)
                                  : MED_KEY_FORM_NONE;
        if (group > 0)
                med_find(to, MED_SEVERITY_WARNING, "bitlocker-key-group", drive->line, NULL,
                         "compare the key with the one that was printed or saved",
                         "group %u of the BitLocker key of drive %s is not a valid group", group,
                         drive->drive_id);
        else if (drive->key_form == MED_KEY_FORM_NONE)
                med_find(to, MED_SEVERITY_ERROR, "bitlocker-key-missing", drive->line, NULL,
                         "add the key of the drive", "drive %s has no BitLockerKey",
                         drive->drive_id);
        else if (drive->key_form == MED_KEY_FORM_REDACTED)
                med_find(to, MED_SEVERITY_ERROR, "bitlocker-key-redacted", drive->line, NULL,
                         "use the original journal",
                         "the BitLocker key of drive %s was replaced by asterisks",
                         drive->drive_id);
        else if (drive->key_form == MED_KEY_FORM_UNKNOWN)
                med_find(to, MED_SEVERITY_WARNING, "bitlocker-key-form", drive->line, NULL,
                         "a key has eight groups of six digits, or is base64 of 32 bytes",
                         "the BitLocker key of drive %s has no known form", drive->drive_id);
}

static void check_hash(struct drive_reader *d)
{
        const struct med_journal_drive *drive = &d->drive;
        const size_t n = drive->manifest_hash ? strlen(drive->manifest_hash) : 0;
        uint8_t bytes[64];

        if (n > 0 && ((n != 32 && n != 64) || bth_hex_decode(drive->manifest_hash, n, bytes) < 0))
                med_find(d->reading->findings, MED_SEVERITY_ERROR, "manifest-hash-form",
                         drive->line, NULL, "a hash has 32 (MD5) or 64 (SHA-256) hex digits",
                         "the ManifestHash of drive %s is no hash", drive->drive_id);
}

static int by_id(const struct med_journal *j, const char *id)
{
        for (size_t i = 0; i < j->n_drives; i++)
                if (bth_ascii_casecmp(j->drives[i].drive_id, id) == 0)
                        return (int)i;
        return -1;
}

/* The last record of a drive wins (spec 1.9, 6). Takes over the drive. */
static int keep_drive(struct reading *r, struct med_journal_drive *drive)
{
        struct med_journal *j = r->j;
        struct med_journal_drive *p;
        int at = by_id(j, drive->drive_id);

        if (at >= 0) {
                clear_drive(&j->drives[at]);
                j->drives[at] = *drive;
                *drive = (struct med_journal_drive){ 0 };
                return 0;
        }
        if (j->n_drives == MED_JOURNAL_MAX_DRIVES)
                return too_much(r, "the journal has more than 1,024 drives");
        p = reallocarray(j->drives, j->n_drives + 1, sizeof *p);
        if (!p)
                return -ENOMEM;
        j->drives = p;
        j->drives[j->n_drives++] = *drive;
        *drive = (struct med_journal_drive){ 0 };
        return 0;
}

static int finish_drive(struct drive_reader *d)
{
        const struct med_findings *to = d->reading->findings;
        struct med_journal_drive *drive = &d->drive;

        if (!drive->drive_id || drive->drive_id[0] == '\0') {
                med_find(to, MED_SEVERITY_ERROR, "drive-id-missing", drive->line, NULL,
                         "add the serial number of the drive", "a drive has no DriveId");
                clear_drive(drive);
                return 0;
        }
        check_key(d);
        check_hash(d);
        return keep_drive(d->reading, drive);
}

static int on_drive_end(void *userdata, const char *name, uint64_t line)
{
        struct drive_reader *d = userdata;

        if (!d->inside)
                return 0;
        if (d->depth == 0) {
                d->inside = false;
                return finish_drive(d);
        }
        return --d->depth == 0 ? take_element(d, name) : 0;
}

/* Windows likes to save XML as UTF-16 and to declare so; by now the text is UTF-8. Returns the
 * length of the declaration, or 0. */
static size_t declaration_length(const char *text, size_t n)
{
        const char *end = n > 6 && memcmp(text, "<?xml ", 6) == 0 ? memmem(text, n, "?>", 2) : NULL;

        return end ? (size_t)(end + 2 - text) : 0;
}

/* Reads every <Drive> of an XML text. `first_line` is where the text begins in the journal, from 1.
 */
static int read_drives(struct reading *r, const char *text, size_t n, uint64_t first_line,
                       struct bth_error *error)
{
        static const struct med_xml_handler handler = {
                .start = on_drive_start,
                .text = on_drive_text,
                .end = on_drive_end,
        };
        struct drive_reader d = { .reading = r, .line_offset = first_line - 1 };
        int result;

        /* XML wants its declaration at the very start; a block value may begin with a line end. */
        while (n > 0 && strchr(" \t\r\n", *text)) {
                d.line_offset += *text == '\n';
                text++;
                n--;
        }
        if (r->transcoded) {
                const size_t skip = declaration_length(text, n);

                for (size_t i = 0; i < skip; i++)
                        d.line_offset += text[i] == '\n';
                for (text += skip, n -= skip; n > 0 && strchr(" \t\r\n", *text); text++, n--)
                        d.line_offset += *text == '\n';
        }
        result = med_xml_parse(text, n, &handler, &d, r->findings ? r->findings->object : NULL,
                               MED_XML_DOCUMENT, error);
        if (result < 0 && error && error->line != 0)
                error->line += d.line_offset;
        wipe_text(&d);
        bth_buf_clear(&d.text);
        clear_drive(&d.drive);
        return result;
}

/* -- record text
 * ------------------------------------------------------------------------------------- */

struct record_reader {
        struct reading *reading;
        char *at, *end; /* the text, cut into strings as it is read */
        uint64_t line;  /* of the line last taken */
        bool open;      /* inside a record */
        uint64_t record_line;
        size_t first_field; /* of the record, in j->fields */
        const char *type;   /* of the record; "" */
};

static const char record_begin[] = "[BeginUpdateRecord]";

static bool begins_record(const char *line, size_t n)
{
        return n >= sizeof record_begin - 1 &&
               memcmp(line, record_begin, sizeof record_begin - 1) == 0;
}

/* Takes the next line; cuts its end off. Returns NULL at the end. */
static char *take_line(struct record_reader *t, size_t *ret_n, char **ret_next)
{
        char *start = t->at, *newline;
        size_t n;

        if (start >= t->end)
                return NULL;
        newline = memchr(start, '\n', (size_t)(t->end - start));
        n = (size_t)((newline ? newline : t->end) - start);
        t->at = newline ? newline + 1 : t->end;
        *ret_next = t->at;
        t->line++;
        if (n > 0 && start[n - 1] == '\r')
                n--;
        *ret_n = n;
        return start;
}

static bool is_marker(const char *line, size_t n, const char *marker)
{
        const size_t k = strlen(marker);

        while (n > k && (line[n - 1] == ' ' || line[n - 1] == '\t'))
                n--;
        return n == k && memcmp(line, marker, k) == 0;
}

/* The raw lines between [BeginValue] and [EndValue]. `first` is text behind [BeginValue], kept as
 * first line. Returns 1; 0 when the file ends inside; -ENODATA when a record begins inside, which
 * is then the next line: a crash cut the block off, and the tool went on behind it. */
static int take_block(struct record_reader *t, char *first, char **ret_value, size_t *ret_n)
{
        char *start = first, *line, *next;
        size_t n;

        while ((line = take_line(t, &n, &next))) {
                if (begins_record(line, n)) {
                        t->at = line;
                        t->line--;
                        return -ENODATA;
                }
                if (!is_marker(line, n, "[EndValue]"))
                        continue;
                *ret_value = start;
                *ret_n = (size_t)(line - start);
                while (*ret_n > 0 && (start[*ret_n - 1] == '\n' || start[*ret_n - 1] == '\r'))
                        (*ret_n)--;
                start[*ret_n] = '\0';
                return 1;
        }
        return 0;
}

static int take_drive_state(struct record_reader *t, const char *value, size_t n, uint64_t line)
{
        struct bth_error error = BTH_ERROR_INIT;
        int r = read_drives(t->reading, value, n, line, &error);

        if (r != -EBADMSG || error.reason == BTH_REASON_LIMIT_EXCEEDED) {
                if (r < 0 && t->reading->error)
                        *t->reading->error = error;
                return r;
        }
        /* One broken record does not spoil the others. */
        med_find(t->reading->findings, MED_SEVERITY_ERROR, "drive-state-xml", MAX(line, error.line),
                 NULL, "use the original journal", "the DriveState cannot be read: %s",
                 error.sentence);
        return 0;
}

/* A line that is neither key nor marker is kept without a key (spec 1.9, 3). Returns 1, -ENOMEM. */
static int take_stray(struct record_reader *t, char *line, size_t n)
{
        const struct med_journal_field f = { .record = t->type,
                                             .activity = "",
                                             .key = "",
                                             .value = line,
                                             .value_length = n,
                                             .line = t->line };
        int r;

        line[n] = '\0';
        med_find(t->reading->findings, MED_SEVERITY_WARNING, "journal-stray-line", t->line, NULL,
                 "compare with the original journal",
                 "a line that is neither a key nor a marker has no effect");
        r = add_field(t->reading, f);
        return r < 0 ? r : 1;
}

/* A line inside a record. Returns 1, 0 when the file ends inside a block, or negative errno. */
static int take_field(struct record_reader *t, char *line, size_t n)
{
        static const char begin[] = "[BeginValue]";
        char *colon = memchr(line, ':', n), *value;
        struct med_journal_field f = { .line = t->line };
        size_t length;
        int r;

        if (n == 0)
                return 1;
        if (!colon || colon == line || colon - line > KEY_MAX_BYTES)
                return take_stray(t, line, n);
        value = colon + 1;
        length = n - (size_t)(value - line);
        while (length > 0 && (*value == ' ' || *value == '\t')) {
                value++;
                length--;
        }
        if (length >= sizeof begin - 1 && memcmp(value, begin, sizeof begin - 1) == 0) {
                /* Text may follow on the same line; otherwise the value begins on the next one. */
                bool same_line = length > sizeof begin - 1;

                f.line += !same_line;
                r = take_block(t, same_line ? value + sizeof begin - 1 : t->at, &value, &length);
                if (r == -ENODATA) {
                        med_find(t->reading->findings, MED_SEVERITY_WARNING,
                                 "journal-value-not-ended", f.line, NULL,
                                 "compare with the original journal",
                                 "a record begins before a value has ended, which is left out");
                        return 1;
                }
                if (r == 0)
                        return 0;
        } else {
                value[length] = '\0';
        }
        *colon = '\0';
        f.key = line;
        f.value = value;
        f.value_length = length;
        f.record = t->type;
        f.activity = "";
        r = add_field(t->reading, f);
        return r < 0 ? r : 1;
}

/* All fields of a record are known now: which activity, which drives. */
static int close_record(struct record_reader *t)
{
        struct med_journal *j = t->reading->j;
        const char *activity = "";
        int r = 0;

        t->open = false;
        for (size_t i = t->first_field; i < j->n_fields; i++)
                if (strcmp(j->fields[i].key, "ActivityId") == 0)
                        activity = j->fields[i].value;
        for (size_t i = t->first_field; r == 0 && i < j->n_fields; i++) {
                struct med_journal_field *f = &j->fields[i];

                f->activity = activity;
                if (strcmp(f->key, "DriveState") == 0)
                        r = take_drive_state(t, f->value, f->value_length, f->line);
                else if (strcmp(f->key, "VocabularyVersion") == 0)
                        r = set_copy(&j->vocabulary, f->value, f->value_length);
                else if (!f->known && f->key[0] != '\0')
                        med_find(t->reading->findings, MED_SEVERITY_WARNING, "journal-unknown-key",
                                 f->line, NULL, "nothing: it is kept and has no effect",
                                 "the key '%s' is not in the public vocabulary", f->key);
        }
        return r;
}

static void drop_record(struct record_reader *t)
{
        t->reading->j->n_fields = t->first_field;
        t->reading->j->cut_off = true;
        t->open = false;
        med_find(t->reading->findings, MED_SEVERITY_WARNING, "journal-cut-off", t->record_line,
                 NULL, "run the session again with --resume",
                 "the last record is not complete and is left out");
}

/* "[BeginUpdateRecord][2031/04/09 07:15:02.118][Type:ActivityRecord]" -> the type, cut out of the
 * line; "" when it names none. An unknown type is kept and told. */
static const char *take_type(struct record_reader *t, char *line, size_t n)
{
        static const char tag[] = "[Type:";
        char *start = memmem(line, n, tag, sizeof tag - 1), *end;

        if (start)
                start += sizeof tag - 1;
        end = start ? memchr(start, ']', n - (size_t)(start - line)) : NULL;
        if (end)
                *end = '\0';
        if (!end || (strcmp(start, "ActivityRecord") != 0 && strcmp(start, "NewJournalFile") != 0))
                med_find(t->reading->findings, MED_SEVERITY_WARNING, "journal-unknown-record",
                         t->line, NULL, "nothing: it is read like any other",
                         "the record type '%s' is not in the public vocabulary", end ? start : "");
        return end ? start : "";
}

static int take_record_line(struct record_reader *t, char *line, size_t n)
{
        if (begins_record(line, n)) {
                int r = 0;

                if (t->open) {
                        med_find(t->reading->findings, MED_SEVERITY_WARNING,
                                 "journal-record-not-ended", t->record_line, NULL,
                                 "compare with the original journal",
                                 "a record begins before the last one has ended");
                        r = close_record(t);
                }
                t->open = true;
                t->record_line = t->line;
                t->first_field = t->reading->j->n_fields;
                t->type = take_type(t, line, n);
                return r < 0 ? r : 1;
        }
        if (is_marker(line, n, "[EndUpdateRecord]")) {
                int r = t->open ? close_record(t) : 0;

                return r < 0 ? r : 1;
        }
        if (t->open)
                return take_field(t, line, n);
        if (n > 0)
                med_find(t->reading->findings, MED_SEVERITY_WARNING, "journal-stray-line", t->line,
                         NULL, "compare with the original journal",
                         "text between two records is left out");
        return 1;
}

static int read_records(struct reading *reading, char *text, size_t n)
{
        struct record_reader t = { .reading = reading, .at = text, .end = text + n };
        char *line, *next;
        size_t length;
        int r = 1;

        while (r > 0 && (line = take_line(&t, &length, &next)))
                r = take_record_line(&t, line, length);
        if (r >= 0 && t.open)
                drop_record(&t);
        return MIN(r, 0);
}

/* -- the whole
 * --------------------------------------------------------------------------------------- */

/* UTF-8 text in locked memory, whatever Unicode encoding the file has. */
static int decode(const uint8_t *data, size_t n, struct bth_secret **ret_text, bool *ret_transcoded,
                  struct bth_error *error)
{
        _cleanup_(bth_secret_freep) struct bth_secret *text = NULL;
        int r;

        if (n >= 2 &&
            ((data[0] == 0xff && data[1] == 0xfe) || (data[0] == 0xfe && data[1] == 0xff))) {
                const bool big = data[0] == 0xfe;
                const size_t units = (n - 2) / 2;
                _cleanup_(bth_secret_freep) struct bth_secret *swapped = NULL;

                if (BTH_UTF8_MAX_FROM_UTF16(units) > MED_JOURNAL_MAX_BYTES)
                        return bth_error_set(error, -EFBIG, BTH_REASON_TOO_LARGE,
                                             "the journal may have %zu bytes as UTF-8; at most "
                                             "%zu are read",
                                             (size_t)BTH_UTF8_MAX_FROM_UTF16(units),
                                             MED_JOURNAL_MAX_BYTES);
                r = bth_secret_new(MAX(units * 2, (size_t)1), &swapped);
                if (r < 0)
                        return r;
                memcpy(swapped->data, data + 2, units * 2);
                for (size_t i = 0; big && i < units; i++) {
                        uint8_t b = swapped->data[2 * i];

                        swapped->data[2 * i] = swapped->data[2 * i + 1];
                        swapped->data[2 * i + 1] = b;
                }
                r = bth_secret_new(BTH_UTF8_MAX_FROM_UTF16(units), &text);
                if (r < 0)
                        return r;
                bth_secret_truncate(text,
                                    bth_utf16_to_utf8(swapped->data, units, (char *)text->data));
        } else {
                if (n >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) {
                        data += 3;
                        n -= 3;
                }
                r = n > 0 ? bth_secret_new_copy(data, n, &text) : bth_secret_new(1, &text);
                if (r < 0)
                        return r;
                if (n == 0)
                        bth_secret_truncate(text, 0);
        }
        if (!bth_utf8_valid((const char *)text->data, text->length_bytes) ||
            memchr(text->data, '\0', text->length_bytes))
                return bth_error_set(error, -EILSEQ, BTH_REASON_NOT_TEXT,
                                     "the journal is neither UTF-8 nor UTF-16 text");
        *ret_transcoded = n >= 2 && (data[0] == 0xff || data[0] == 0xfe);
        *ret_text = take_ptr(text);
        return 0;
}

static void check_drives(const struct reading *r)
{
        const struct med_journal *j = r->j;

        if (j->n_drives == 0)
                med_find(r->findings, MED_SEVERITY_ERROR, "journal-no-drive", 0, NULL,
                         "finish the preparation of the drive", "the journal names no drive");
        for (size_t i = 0; i < j->n_drives; i++) {
                const struct med_journal_drive *d = &j->drives[i];

                if (!d->manifest_file)
                        med_find(r->findings, MED_SEVERITY_ERROR, "manifest-file-missing", d->line,
                                 NULL, "finish the preparation of the drive",
                                 "drive %s is not ready for a job: it has no ManifestFile",
                                 d->drive_id);
                if (!d->manifest_hash)
                        med_find(r->findings, MED_SEVERITY_ERROR, "manifest-hash-missing", d->line,
                                 NULL, "finish the preparation of the drive",
                                 "drive %s is not ready for a job: it has no ManifestHash",
                                 d->drive_id);
        }
}

static int not_a_journal(struct bth_error *error)
{
        return bth_error_set(error, -EBADMSG, BTH_REASON_NOT_A_JOURNAL,
                             "the file begins neither with [BeginUpdateRecord] nor with '<'");
}

int med_journal_parse(const void *data, size_t n, const struct med_findings *findings,
                      struct med_journal **ret_journal, struct bth_error *error)
{
        _cleanup_(med_journal_freep) struct med_journal *j = NULL;
        struct reading reading = { .findings = findings, .error = error };
        const char *text;
        size_t skip;
        int r;

        if (findings)
                bth_error_at(error, findings->object, 0, BTH_ERROR_NO_OFFSET);
        if (n > MED_JOURNAL_MAX_BYTES)
                return bth_error_set(error, -EFBIG, BTH_REASON_TOO_LARGE,
                                     "the journal has %zu bytes; at most %zu are read", n,
                                     MED_JOURNAL_MAX_BYTES);
        j = calloc(1, sizeof *j);
        if (!j)
                return -ENOMEM;
        reading.j = j;
        r = decode(data, n, &j->text, &reading.transcoded, error);
        if (r < 0)
                return r;
        text = (const char *)j->text->data;
        skip = strspn(text, " \t\r\n");
        if (bth_starts_with(text + skip, "[BeginUpdateRecord]")) {
                r = read_records(&reading, (char *)j->text->data, j->text->length_bytes);
        } else if (text[skip] == '<') {
                j->is_xml = true;
                r = read_drives(&reading, text, j->text->length_bytes, 1, error);
                if (r == 0 && j->n_drives == 0)
                        r = not_a_journal(error);
        } else {
                r = not_a_journal(error);
        }
        if (r < 0)
                return r;
        check_drives(&reading);
        *ret_journal = take_ptr(j);
        return 0;
}

int med_journal_load(const char *path, const struct med_findings *findings,
                     struct med_journal **ret_journal, struct bth_error *error)
{
        _cleanup_(bth_secret_freep) struct bth_secret *data = NULL;
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        int r = fd < 0 ? -errno : 0;

        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        if (r == 0)
                r = bth_secret_new_from_fd(fd, MED_JOURNAL_MAX_BYTES, false, &data);
        if (r == -ENODATA)
                return not_a_journal(error);
        if (r == -EFBIG)
                return bth_error_set(error, r, BTH_REASON_TOO_LARGE,
                                     "the journal is larger than %zu bytes", MED_JOURNAL_MAX_BYTES);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE, "it cannot be read: %s",
                                     bth_strerror(r));
        return med_journal_parse(data->data, data->length_bytes, findings, ret_journal, error);
}

const char *med_journal_get(const struct med_journal *j, const char *activity, const char *key)
{
        for (size_t i = j->n_fields; i-- > 0;)
                if (strcmp(j->fields[i].key, key) == 0 &&
                    strcmp(j->fields[i].activity, activity) == 0)
                        return j->fields[i].value;
        return NULL;
}

const struct med_journal_drive *med_journal_drive(const struct med_journal *j, const char *drive_id)
{
        _cleanup_free_ char *id = calloc(1, strlen(drive_id) + 1);
        size_t k = 0;
        int at;

        if (!id)
                return NULL;
        for (; *drive_id; drive_id++)
                if (*drive_id != ' ')
                        id[k++] = *drive_id;
        at = by_id(j, id);
        return at < 0 ? NULL : &j->drives[at];
}
