/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manifest-field - the text of an element into its place, and what is checked when a blob or the
 * document is complete. Credentials go into locked memory, and no finding quotes them.
 * Source: import-export specification 2.3, 2.4, 2.11. */
#include "base/checked.h"
#include "media/manifest-internal.h"

#define LATE_MAX           4096u /* defaults that follow the blobs of their list */
#define SAS_VERSION_MIN    "2014-02-14"
#define SAS_IMPORT_LETTERS "rwd"

/* --- elements of Drive --- */

static bool equal_but_blanks(const char *a, const char *b)
{
        for (;; a++, b++) {
                a += strspn(a, " ");
                b += strspn(b, " ");
                if (*a != *b)
                        return false;
                if (*a == '\0')
                        return true;
        }
}

static int end_drive_id(struct med_manifest_reader *r, const char *text, size_t n)
{
        char *id;

        if (n == 0)
                return 0; /* as good as absent */
        id = strndup(text, n);
        if (!id)
                return -ENOMEM;
        r->summary->header.drive_id = id;
        if (strpbrk(id, " \t\r\n"))
                manifest_note(r, MED_MANIFEST_FINDING_DRIVE_ID_BLANKS, r->field_line, "'%.60s'",
                              id);
        if (r->options.drive_serial && !equal_but_blanks(id, r->options.drive_serial))
                manifest_note(r, MED_MANIFEST_FINDING_DRIVE_ID_MISMATCH, r->field_line,
                              "DriveId is '%.40s', the drive is '%.40s'", id,
                              r->options.drive_serial);
        return 0;
}

/* The value of a parameter in a SAS token, or NULL. */
static const char *sas_parameter(const char *token, const char *name)
{
        const size_t n = strlen(name);

        for (const char *p = token; p; p = strchr(p, '&')) {
                p += *p == '&' || *p == '?';
                if (strncmp(p, name, n) == 0 && p[n] == '=')
                        return p + n + 1;
        }
        return NULL;
}

/* Says what may be wrong, never what the token is. */
static const char *sas_doubt(const char *token)
{
        const char *version = sas_parameter(token, "sv"), *rights = sas_parameter(token, "sp");
        size_t n = rights ? strcspn(rights, "&") : 0;

        if (!sas_parameter(token, "sig"))
                return "ContainerSas has no signature";
        if (!version || strncmp(version, SAS_VERSION_MIN, strlen(SAS_VERSION_MIN)) < 0)
                return "ContainerSas has no version (sv) of " SAS_VERSION_MIN " or later";
        for (const char *c = SAS_IMPORT_LETTERS; rights && *c; c++)
                if (!memchr(rights, *c, n))
                        return "ContainerSas does not allow to read, write and delete (sp)";
        return NULL;
}

static void check_sas(struct med_manifest_reader *r, const char *sas)
{
        struct med_manifest_header *h = &r->summary->header;
        const char *token = strchr(sas, '?');
        const char *doubt = NULL;

        if (sas[strspn(sas, "*")] == '\0')
                doubt = "ContainerSas was blanked out";
        else if (!token || token == sas || (size_t)(token - sas) >= sizeof h->container)
                doubt = "ContainerSas does not have the form container?token";
        else
                doubt = sas_doubt(token + 1);
        if (token && (size_t)(token - sas) < sizeof h->container) {
                memcpy(h->container, sas, (size_t)(token - sas));
                h->container[token - sas] = '\0';
        }
        if (doubt)
                manifest_note(r, MED_MANIFEST_FINDING_CREDENTIAL_DOUBTFUL, r->field_line, "%s",
                              doubt);
        /* Elements may come in any order; a later pass names each of these blobs. */
        if (h->container[0] != '\0' && r->first_container[0] != '\0' &&
            (r->more_containers || strcmp(r->first_container, h->container) != 0))
                manifest_note(r, MED_MANIFEST_FINDING_BLOB_OUTSIDE_CONTAINER, r->field_line,
                              "blobs in front of ContainerSas are in '%s'%s, the credential is for "
                              "'%s'",
                              r->first_container, r->more_containers ? " and others" : "",
                              h->container);
}

static void check_account_key(struct med_manifest_reader *r, const struct bth_secret *key)
{
        const char *text = (const char *)key->data;
        uint8_t bytes[MANIFEST_SECRET_BYTES];
        const char *doubt = NULL;
        size_t n;

        if (text[strspn(text, "*")] == '\0')
                doubt = "StorageAccountKey was blanked out";
        else if (bth_base64_decode(text, key->length_bytes, bytes, &n) < 0)
                doubt = "StorageAccountKey is not base64";
        bth_wipe(bytes, sizeof bytes);
        if (doubt)
                manifest_note(r, MED_MANIFEST_FINDING_CREDENTIAL_DOUBTFUL, r->field_line, "%s",
                              doubt);
}

static int end_credential(struct med_manifest_reader *r, const char *text, size_t n)
{
        struct med_manifest_header *h = &r->summary->header;
        struct bth_secret **secret =
                r->field == T_ACCOUNT_KEY ? &h->account_key : &h->container_sas;
        int k;

        if (n == 0)
                return 0; /* as good as absent */
        k = bth_secret_new_copy(text, n, secret);
        bth_wipe(r->text.data, r->text.allocated);
        r->text.length = 0;
        if (k < 0)
                return k;
        if (r->field == T_ACCOUNT_KEY)
                check_account_key(r, *secret);
        else
                check_sas(r, (const char *)(*secret)->data);
        if (h->account_key && h->container_sas)
                manifest_note(r, MED_MANIFEST_FINDING_TWO_CREDENTIALS, r->field_line, "%s", "");
        return 0;
}

static int end_in_drive(struct med_manifest_reader *r, const char *text, size_t n)
{
        if (r->field == T_DRIVE_ID)
                return end_drive_id(r, text, n);
        if (r->field != T_CLIENT_CREATOR)
                return end_credential(r, text, n);
        r->summary->header.client_creator = strndup(text, n);
        return r->summary->header.client_creator ? 0 : -ENOMEM;
}

/* Keeps for the next pass what came too late for this one. */
static int keep_late(struct med_manifest_reader *r, const char *text, size_t n)
{
        struct med_manifest_summary *s = r->summary;
        struct med_manifest_late_default *late;

        manifest_note(r, MED_MANIFEST_FINDING_LIST_DEFAULT_LATE, r->field_line, "%s",
                      manifest_token_name(r->field));
        if (s->n_late == LATE_MAX)
                return 0;
        late = reallocarray(s->late, s->n_late + 1, sizeof *late);
        if (!late)
                return -ENOMEM;
        s->late = late;
        late += s->n_late;
        *late = (struct med_manifest_late_default){
                .list_index = r->list->public.index,
                .properties = r->field == T_PROPERTIES_PATH,
                .path = strndup(text, n),
                .line = r->field_line,
        };
        if (!late->path)
                return -ENOMEM;
        memcpy(late->md5, r->field_md5, sizeof late->md5);
        s->n_late++;
        return 0;
}

static int end_in_list(struct med_manifest_reader *r, const char *text, size_t n)
{
        struct med_manifest_list *l = &r->list->public;
        struct med_manifest_sidecar *sidecar =
                r->field == T_METADATA_PATH ? &l->metadata : &l->properties;

        if (n == 0)
                return 0;
        if (r->list_blobs > 0)
                return keep_late(r, text, n);
        if (sidecar->path)
                return 0; /* an earlier pass knew it */
        sidecar->path = strndup(text, n);
        if (!sidecar->path)
                return -ENOMEM;
        memcpy(sidecar->md5, r->field_md5, sizeof sidecar->md5);
        sidecar->line = r->field_line;
        return 0;
}

static void end_disposition(struct med_manifest_reader *r, const char *text, size_t n)
{
        struct med_manifest_blob *b = &r->draft.slot->blob;
        char word[16] = "";
        enum bth_disposition d;

        if (n < sizeof word)
                memcpy(word, text, n);
        word[MIN(n, sizeof word - 1)] = '\0';
        d = bth_disposition_from_string(word);
        b->disposition_given = true;
        if (d == _BTH_DISPOSITION_INVALID)
                manifest_note(r, MED_MANIFEST_FINDING_DISPOSITION_UNKNOWN, r->field_line,
                              "it is '%.*s'", (int)MIN(n, (size_t)40), text);
        else
                b->disposition = d;
}

static int end_in_blob(struct med_manifest_reader *r, const char *text, size_t n)
{
        struct draft *d = &r->draft;
        struct med_manifest_blob *b = &d->slot->blob;

        switch (r->field) {
        case T_LENGTH:
                d->bad_length = !manifest_read_number(r, T_LENGTH, text, n, r->field_line,
                                                      &b->length_bytes);
                return 0;
        case T_DISPOSITION:
                end_disposition(r, text, n);
                return 0;
        case T_METADATA_PATH:
                memcpy(b->metadata.md5, r->field_md5, sizeof b->metadata.md5);
                b->metadata.line = r->field_line;
                break;
        case T_PROPERTIES_PATH:
                memcpy(b->properties.md5, r->field_md5, sizeof b->properties.md5);
                b->properties.line = r->field_line;
                break;
        default:
                break;
        }
        return manifest_slot_add_text(d->slot, text, n, &d->texts[r->field]);
}

int manifest_end_leaf(struct med_manifest_reader *r, enum state parent)
{
        const char *text = r->text.data;
        size_t n = r->text.length;

        if (r->field_too_long) {
                manifest_note(r, MED_MANIFEST_FINDING_TEXT_TOO_LONG, r->field_line, "%s",
                              manifest_token_name(r->field));
                if (r->field == T_ACCOUNT_KEY || r->field == T_CONTAINER_SAS)
                        bth_wipe(r->text.data, r->text.allocated);
                r->text.length = n = 0;
        }
        if (r->field == T_BLOB_PATH || r->field == T_FILE_PATH || r->field == T_FILE_STORAGE_PATH ||
            r->field == T_CLIENT_DATA)
                med_xml_trim_layout(&text, &n);
        else
                med_xml_trim(&text, &n);
        if (parent == S_DRIVE)
                return end_in_drive(r, text, n);
        return parent == S_LIST ? end_in_list(r, text, n) : end_in_blob(r, text, n);
}

/* --- end of a blob --- */

/* The text of an element, NULL when it was absent or empty. */
static const char *text_of(const struct draft *d, enum token t)
{
        const char *text = d->seen & manifest_bit(t) && d->slot->strings.data
                                   ? d->slot->strings.data + d->texts[t]
                                   : NULL;

        return text && *text != '\0' ? text : NULL;
}

/* Now that nothing moves any more, offsets become pointers. */
static void settle(struct med_manifest_reader *r)
{
        const struct draft *d = &r->draft;
        struct med_manifest_blob *b = &d->slot->blob;

        b->index = r->summary->n_blobs;
        b->blob_path =
                text_of(d, b->azure_file && text_of(d, T_FILE_STORAGE_PATH) ? T_FILE_STORAGE_PATH
                                                                            : T_BLOB_PATH);
        b->file_path = text_of(d, T_FILE_PATH);
        b->client_data = text_of(d, T_CLIENT_DATA);
        b->snapshot = text_of(d, T_SNAPSHOT);
        b->metadata.path = text_of(d, T_METADATA_PATH);
        b->properties.path = text_of(d, T_PROPERTIES_PATH);
        b->ids = d->slot->strings.data;
        b->ranges = d->slot->ranges;
        if (!b->disposition_given)
                b->disposition = r->options.default_disposition;
        if (b->kind == MED_MANIFEST_BLOCK && b->n_ranges == 1 && b->ranges[0].length_bytes == 0 &&
            b->ranges[0].offset_bytes == 0 && b->length_bytes == 0 && !d->bad_range) {
                manifest_note(r, MED_MANIFEST_FINDING_EMPTY_RANGE_DROPPED, b->ranges[0].line, "%s",
                              "");
                b->n_ranges = 0;
        }
}

static int check_double(struct med_manifest_reader *r, struct med_seen *seen,
                        enum med_manifest_finding f)
{
        const int k = med_seen_add(seen, r->scratch.data, r->scratch.length);

        if (k > 0)
                manifest_note(r, f, r->draft.slot->blob.line, "%s", "");
        return k < 0 ? k : 0;
}

/* Snapshots of one blob are different blobs; on NTFS 'A' and 'a' are the same file. */
static int check_doubles(struct med_manifest_reader *r)
{
        const struct med_manifest_blob *b = &r->draft.slot->blob;
        struct bth_buf *key = &r->scratch;
        int k = 0;

        key->length = 0;
        if (b->blob_path) {
                k = bth_buf_add(key, b->blob_path, strlen(b->blob_path) + 1);
                if (k == 0 && b->snapshot)
                        k = bth_buf_add_string(key, b->snapshot);
                if (k == 0 && b->azure_file)
                        k = bth_buf_add(key, "", 1); /* a share is not a container */
                if (k == 0)
                        k = check_double(r, r->blobs_seen ? r->blobs_seen : r->options.job_blobs,
                                         MED_MANIFEST_FINDING_BLOB_PATH_TWICE);
        }
        if (k < 0 || !b->file_path)
                return k;
        key->length = 0;
        k = bth_buf_add_string(key, b->file_path);
        if (k < 0)
                return k;
        for (size_t i = 0; i < key->length; i++)
                if (key->data[i] >= 'A' && key->data[i] <= 'Z')
                        key->data[i] = (char)(key->data[i] - 'A' + 'a');
        return check_double(r, r->files_seen, MED_MANIFEST_FINDING_FILE_PATH_TWICE);
}

/* From the checks of manifest-validate.c. */
static void note_check(void *reader, enum med_manifest_finding f, uint64_t line, const char *detail)
{
        struct med_manifest_reader *r = reader;

        if (f == MED_MANIFEST_FINDING_NO_RANGE_LIST && r->options.without_range_list)
                return;
        /* A hash that could not be read was reported; what follows from it is no news. */
        if (r->draft.bad_hash && (f == MED_MANIFEST_FINDING_BLOCK_ID_NOT_HASH ||
                                  f == MED_MANIFEST_FINDING_BLOCK_ID_REUSED))
                return;
        manifest_note_text(r, f, line, detail);
}

/* The container of the ContainerSas, "" while there was none. */
static const char *credential_container(const struct med_manifest_reader *r)
{
        return r->earlier ? r->earlier->header.container : r->summary->header.container;
}

static void remember_container(struct med_manifest_reader *r, const char *blob_path)
{
        const char *path = blob_path ? blob_path + (blob_path[0] == '/') : "";
        const size_t n = strcspn(path, "/");

        if (n == 0 || n >= sizeof r->first_container || r->more_containers)
                return;
        if (r->first_container[0] == '\0')
                memcpy(r->first_container, path, n);
        else
                r->more_containers =
                        strncmp(r->first_container, path, n) != 0 || r->first_container[n] != '\0';
}

static int check(struct med_manifest_reader *r)
{
        const struct draft *d = &r->draft;
        const struct med_manifest_blob *b = &d->slot->blob;
        int k = 0;

        med_manifest_check_names(b, credential_container(r), note_check, r);
        remember_container(r, b->blob_path);
        if (!(d->seen & manifest_bit(T_LENGTH)))
                manifest_note(r, MED_MANIFEST_FINDING_LENGTH_MISSING, b->line, "%s", "");
        else if (!d->bad_length && !d->bad_range)
                k = med_manifest_check_ranges(b, r->options.direction, note_check, r);
        if (!b->disposition_given && manifest_importing(r))
                manifest_note(r, MED_MANIFEST_FINDING_DISPOSITION_ABSENT, b->line, "%s", "");
        if (k == 0 && r->options.find_doubles)
                k = check_doubles(r);
        return k;
}

static void sum_up(struct med_manifest_reader *r, const struct med_manifest_blob *b)
{
        struct med_manifest_summary *s = r->summary;

        s->n_blobs++;
        s->n_azure_files += b->azure_file;
        s->n_ranges += b->n_ranges;
        if (!bth_add_u64(s->length_bytes, b->length_bytes, &s->length_bytes))
                s->length_bytes = UINT64_MAX;
        for (size_t i = 0; i < b->n_ranges; i++)
                if (!bth_add_u64(s->range_bytes, b->ranges[i].length_bytes, &s->range_bytes))
                        s->range_bytes = UINT64_MAX;
        if (r->files_seen)
                s->double_search_bytes = med_seen_bytes(r->files_seen) +
                                         (r->blobs_seen ? med_seen_bytes(r->blobs_seen) : 0);
}

int manifest_end_blob(struct med_manifest_reader *r)
{
        struct slot *slot = r->draft.slot;
        int k;

        settle(r);
        k = check(r);
        if (k < 0)
                return k;
        manifest_emit_notes(r, slot->blob.blob_path ? slot->blob.blob_path : slot->blob.file_path);
        sum_up(r, &slot->blob);
        r->list_blobs++;
        r->draft.slot = NULL;
        manifest_enqueue(r, slot);
        return 0;
}

/* --- end of the document --- */

void manifest_check_header(struct med_manifest_reader *r)
{
        const struct med_manifest_summary *s = r->summary;

        if (r->n_drives == 0) {
                manifest_note(r, MED_MANIFEST_FINDING_DRIVE_MISSING, med_xml_line(r->xml), "%s",
                              "");
                return;
        }
        if (!s->header.drive_id)
                manifest_note(r, MED_MANIFEST_FINDING_DRIVE_ID_MISSING, r->drive_line, "%s", "");
        if (s->n_lists == 0 && s->n_azure_files == 0)
                manifest_note(r, MED_MANIFEST_FINDING_BLOB_LIST_MISSING, r->drive_line, "%s", "");
        if (manifest_importing(r) && !s->header.account_key && !s->header.container_sas)
                manifest_note(r, MED_MANIFEST_FINDING_CREDENTIAL_MISSING, r->drive_line, "%s", "");
}
