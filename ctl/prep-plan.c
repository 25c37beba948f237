/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-plan - everything that can be wrong with a session is found here, before a byte is written.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/str.h"
#include "crypto/target.h"
#include "ctl/prep-distribute.h"
#include "ctl/prep-drive.h"
#include "ctl/prep-format.h"
#include "ctl/prep-import.h"
#include "ctl/prep-manifest.h"
#include "ctl/prep-skipwrite.h"
#include "ctl/prep-volume.h"
#include "ctl/prep-work.h"
#include "media/dataset.h"
#include "media/driveset.h"
#include "media/manifest.h"
#include "media/sidecar.h"

#define CSV_MAX_BYTES        MED_CSV_MAX_BYTES
#define DRIVESET_MAX_BYTES   ((size_t)1 << 20)
#define KEPT_SHARE           200 /* of a drive's room: folders, and what NTFS wants for itself */
#define KEPT_BYTES           (UINT64_C(4) << 20)
#define MD5_FILE_BYTES       2048 /* a properties file's record and its lines in the manifest */
#define DOUBTS_SHOWN         5
#define FILE_2014_BYTES      (MED_MANIFEST_BLOCKS_MAX * CTL_BLOCK_2014_BYTES)
#define PATH_LONG_CHARACTERS 256

/* A drive under consideration. */
struct candidate {
        char *path, *serial;
        dev_t device; /* with `inode`, of the device or image itself: names may differ */
        ino_t inode;
        bool format, prompt;
        struct bth_secret
                *key; /* new to the journal; NULL: the journal has it, or it will be made */
        uint64_t free_bytes, cluster_bytes;
};

struct plan {
        struct ctl_import *im;
        struct med_journal *journal; /* NULL: none yet */
        struct med_dataset *dataset;
        struct ctl_session_row *rows;
        struct ctl_source_row *sources;
        size_t n_rows;
        struct candidate *drives;
        size_t n_drives;
        struct ctl_items items;
        size_t n_doubts, n_notes;
        bool refused; /* the operator did not want to lose what is on a drive */
};

static void plan_clear(struct plan *p)
{
        for (size_t i = 0; i < p->n_drives; i++) {
                free(p->drives[i].path);
                free(p->drives[i].serial);
                (void)bth_secret_free(p->drives[i].key);
        }
        free(p->drives);
        free(p->rows);
        free(p->sources);
        (void)med_dataset_free(p->dataset);
        (void)med_journal_free(p->journal);
        ctl_items_clear(&p->items);
}

static int no_memory(struct bth_error *error)
{
        return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory for the plan");
}

static int usage(struct bth_error *error, const char *sentence)
{
        return bth_error_set(error, -EINVAL, BTH_REASON_USAGE, "%s", sentence);
}

/* -- rows
 * --------------------------------------------------------------------------------------------- */

static int read_csv(const char *path, char **ret_text, size_t *ret_n, struct bth_error *error)
{
        int r = bth_read_file(path, CSV_MAX_BYTES, ret_text, ret_n);

        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        return r < 0 ? bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE, "it cannot be read: %s",
                                     bth_strerror(r))
                     : 0;
}

/* The form of one folder or file is a data set of one row. */
static int one_row(struct plan *p, struct bth_buf *out, struct bth_error *error)
{
        const struct ctl_import *im = p->im;
        const char *source = im->source_dir ? im->source_dir : im->source_file;
        const char *destination = im->source_dir ? im->destination_dir : im->destination_blob;
        char *folder = NULL;
        const char *fields[6];
        int r;

        if (!source || !destination || (im->source_dir && im->source_file))
                return usage(error,
                             "give either --source-dir and --destination-dir, or --source-file and "
                             "--destination-blob");
        if (im->source_dir &&
            asprintf(&folder, "%s%s", source, bth_ends_with(source, "/") ? "" : "/") < 0)
                return no_memory(error);
        fields[0] = folder ? folder : source;
        fields[1] = destination;
        fields[2] = im->blob_type ? im->blob_type : "";
        fields[3] = im->disposition ? im->disposition : "";
        fields[4] = im->metadata_file ? im->metadata_file : "None";
        fields[5] = im->properties_file ? im->properties_file : "None";
        r = bth_buf_add_string(
                out,
                "BasePath,DstItemPathOrPrefix,ItemType,Disposition,MetadataFile,PropertiesFile\n");
        if (r == 0)
                r = med_csv_write_row(out, fields, ARRAY_SIZE(fields));
        free(folder);
        return r < 0 ? usage(error, "a path with a line end cannot be given here") : 0;
}

static int load_dataset(struct plan *p, struct bth_error *error)
{
        const struct med_findings to = { ctl_findings_take, &p->im->findings,
                                         p->im->dataset ? p->im->dataset : "command line" };
        _cleanup_buf_ struct bth_buf made = BTH_BUF_INIT;
        _cleanup_free_ char *text = NULL;
        size_t n = 0;
        int r;

        if (p->im->dataset)
                r = read_csv(p->im->dataset, &text, &n, error);
        else
                r = one_row(p, &made, error);
        if (r < 0)
                return r;
        r = med_dataset_parse(text ? text : made.data, text ? n : made.length, &to, &p->dataset,
                              error);
        if (r == 0 && p->dataset->n_errors > 0)
                r = bth_error_set(error, -EINVAL, BTH_REASON_SYNTAX, "the data set has %u errors",
                                  p->dataset->n_errors);
        if (r == 0 && p->dataset->n_rows == 0)
                r = bth_error_set(error, -EINVAL, BTH_REASON_VALUE_MISSING,
                                  "the data set has no rows");
        return r;
}

static int check_sidecar(const char *path, enum ctl_sidecar kind, uint8_t ret_md5[BTH_MD5_BYTES],
                         struct bth_error *error)
{
        _cleanup_free_ char *text = NULL;
        struct med_metadata metadata = { 0 };
        struct med_properties properties = { 0 };
        size_t n;
        int r = bth_read_file(path, MED_SIDECAR_MAX_BYTES, &text, &n);

        bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE, "it cannot be read: %s",
                                     bth_strerror(r));
        if (kind == CTL_SIDECAR_METADATA) {
                r = med_metadata_parse(text, n, path, &metadata, error);
                med_metadata_clear(&metadata);
        } else {
                r = med_properties_parse(text, n, path, &properties, error);
                med_properties_clear(&properties);
        }
        return r < 0 ? r : bth_digest_of(BTH_DIGEST_MD5, text, n, ret_md5);
}

/* The plan outlives this program, and the folder it was started in. NULL stays. */
static int make_absolute(char **path, struct bth_error *error)
{
        _cleanup_free_ char *folder = NULL;
        char *text;

        if (!*path || **path == '/')
                return 0;
        folder = getcwd(NULL, 0);
        if (!folder)
                return bth_error_set(error, -errno, BTH_REASON_FILE_UNREADABLE,
                                     "the folder of '%s' cannot be told: %s", *path,
                                     bth_strerror(-errno));
        if (asprintf(&text, "%s/%s", folder, *path) < 0)
                return no_memory(error);
        free(*path);
        *path = text;
        return 0;
}

static int make_row_absolute(const struct plan *p, struct med_dataset_row *row,
                             struct bth_error *error)
{
        int r = p->im->skip_write ? 0 : make_absolute(&row->base_path, error);

        if (r == 0)
                r = make_absolute(&row->metadata_file, error);
        return r < 0 ? r : make_absolute(&row->properties_file, error);
}

static int take_row(struct plan *p, size_t i, struct bth_error *error)
{
        struct med_dataset_row *from = &p->dataset->rows[i];
        struct ctl_session_row *row = &p->rows[i];
        size_t n;
        int r;

        bth_error_at(error, p->im->dataset, from->line, BTH_ERROR_NO_OFFSET);
        if (from->kind == MED_ITEM_FILE)
                return bth_error_set(error, -ENOTSUP, BTH_REASON_UNSUPPORTED,
                                     "Azure Files cannot be prepared: the format of their manifest "
                                     "is not public");
        r = make_row_absolute(p, from, error);
        if (r < 0)
                return r;
        n = strlen(from->base_path);
        if (from->is_folder && from->base_path[n - 1] == '\\')
                from->base_path[n - 1] = '/'; /* the end of a folder in the documents */
        p->sources[i] =
                (struct ctl_source_row){ .base_path = from->base_path,
                                         .destination = from->destination,
                                         .kind = from->kind == MED_ITEM_BLOCK  ? CTL_BLOB_BLOCK
                                                 : from->kind == MED_ITEM_PAGE ? CTL_BLOB_PAGE
                                                                               : CTL_BLOB_AUTO,
                                         .line = from->line };
        *row = (struct ctl_session_row){
                .destination = from->destination,
                .disposition_given =
                        true, /* rename is the default, and is said: later tools meant overwrite */
                .disposition = from->has_disposition ? from->disposition : BTH_DISPOSITION_RENAME,
                .sidecars = { from->metadata_file, from->properties_file }
        };
        for (int k = 0; k < _CTL_SIDECAR_MAX; k++) {
                r = row->sidecars[k] ? check_sidecar(row->sidecars[k], (enum ctl_sidecar)k,
                                                     row->sidecar_md5[k], error)
                                     : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

/* "https://account…/container/x" is the container's path here. */
static int strip_url(struct plan *p, size_t i, struct bth_error *error)
{
        struct med_dataset_row *row = &p->dataset->rows[i];
        char *plain;

        if (!row->parts.account)
                return 0;
        ctl_warn(p->im->context,
                 "row %" PRIu64
                 ": the account '%s' of the URL is not kept; the job names its account",
                 row->line, row->parts.account);
        if (asprintf(&plain, "%s/%s", row->parts.container, row->parts.rest) < 0)
                return no_memory(error);
        free(row->destination);
        row->destination = plain;
        return 0;
}

/* Journal and SERIAL.xml hold keys: a folder that they lie in would take them to the account. */
static int check_journal_outside(const struct plan *p, const struct ctl_source_row *row,
                                 struct bth_error *error)
{
        _cleanup_free_ char *copy = strdup(p->im->journal);
        _cleanup_free_ char *folder = copy ? realpath(dirname(copy), NULL) : NULL;
        _cleanup_free_ char *source = realpath(row->base_path, NULL);
        const size_t n = source ? strlen(source) : 0;

        if (!folder || n == 0 || !bth_ends_with(row->base_path, "/") ||
            strncmp(folder, source, n) != 0 || (n > 1 && folder[n] != '/' && folder[n] != '\0'))
                return 0;
        bth_error_at(error, p->im->journal, 0, BTH_ERROR_NO_OFFSET);
        (void)bth_error_set(
                error, -EINVAL, BTH_REASON_VALUE_INVALID,
                "the journal lies in '%s', which is copied: the drives' keys would be uploaded",
                row->base_path);
        bth_error_advise(error, "keep the journal in a folder of its own");
        return -EINVAL;
}

static int take_rows(struct plan *p, struct bth_error *error)
{
        int r = load_dataset(p, error);

        if (r < 0)
                return r;
        p->n_rows = p->dataset->n_rows;
        p->rows = calloc(p->n_rows, sizeof *p->rows);
        p->sources = calloc(p->n_rows, sizeof *p->sources);
        if (!p->rows || !p->sources)
                return no_memory(error);
        for (size_t i = 0; r == 0 && i < p->n_rows; i++) {
                r = strip_url(p, i, error);
                if (r == 0)
                        r = take_row(p, i, error);
                if (r == 0 && !p->im->skip_write)
                        r = check_journal_outside(p, &p->sources[i], error);
        }
        return r;
}

/* -- files
 * -------------------------------------------------------------------------------------------- */

static void note_left_out(void *userdata, const char *source_path, const char *sentence)
{
        struct plan *p = userdata;

        if (p->n_notes++ < DOUBTS_SHOWN)
                ctl_warn(p->im->context, "'%s': %s", source_path, sentence);
}

static bool has_control(const char *text)
{
        for (; *text; text++)
                if ((unsigned char)*text < 0x20 || *text == 0x7f)
                        return true;
        return false;
}

static int check_item(struct plan *p, const struct ctl_item *item, struct bth_error *error)
{
        const char *doubt;

        bth_error_at(error, item->source_path, 0, BTH_ERROR_NO_OFFSET);
        if (has_control(item->blob_path))
                return bth_error_set(
                        error, -EINVAL, BTH_REASON_NAME_INVALID,
                        "its name has a control character, which no manifest can hold; rename it");
        if (item->page && item->size_bytes > MED_MANIFEST_PAGE_BLOB_BYTES)
                return bth_error_set(error, -EFBIG, BTH_REASON_LIMIT_EXCEEDED,
                                     "a page blob has at most 8 TiB");
        if (!item->page && item->size_bytes > MED_MANIFEST_BLOCKS_MAX * MED_MANIFEST_BLOCK_BYTES)
                return bth_error_set(error, -EFBIG, BTH_REASON_LIMIT_EXCEEDED,
                                     "a block blob has at most 190.7 TiB");
        if (!item->page && item->size_bytes > FILE_2014_BYTES &&
            p->im->block_bytes <= CTL_BLOCK_2014_BYTES)
                ctl_warn(p->im->context,
                         "'%s' is larger than 195 GiB: its blocks are larger than the manifest "
                         "format of 2014 allowed",
                         item->source_path);
        doubt = med_blob_name_doubt(strchr(item->blob_path, '/') + 1);
        if (doubt && p->n_doubts++ < DOUBTS_SHOWN)
                ctl_warn(p->im->context, "blob '%s': %s", item->blob_path, doubt);
        return 0;
}

static int by_blob(const void *a, const void *b)
{
        const struct ctl_item *const *x = a, *const *y = b;

        return strcmp((*x)->blob_path, (*y)->blob_path);
}

/* Two sources for one destination. */
static int check_doubles(const struct ctl_items *items, struct bth_error *error)
{
        _cleanup_free_ const struct ctl_item **sorted =
                calloc(MAX(items->n_items, (size_t)1), sizeof *sorted);

        if (!sorted)
                return no_memory(error);
        for (size_t i = 0; i < items->n_items; i++)
                sorted[i] = &items->items[i];
        qsort(sorted, items->n_items, sizeof *sorted, by_blob);
        for (size_t i = 1; i < items->n_items; i++)
                if (strcmp(sorted[i - 1]->blob_path, sorted[i]->blob_path) == 0) {
                        bth_error_at(error, sorted[i]->source_path, 0, BTH_ERROR_NO_OFFSET);
                        bth_error_blob(error, sorted[i]->blob_path);
                        return bth_error_set(error, -EEXIST, BTH_REASON_NAME_INVALID,
                                             "'%s' would become the same blob",
                                             sorted[i - 1]->source_path);
                }
        return 0;
}

/* The key of a drive that is not formatted; NULL: none is known. */
static const struct bth_secret *key_of(const struct plan *p, const struct candidate *d)
{
        const struct med_journal_drive *known =
                p->journal ? med_journal_drive(p->journal, d->serial) : NULL;

        return d->key ? d->key : known ? known->bitlocker_key : NULL;
}

static int take_files(struct plan *p, struct bth_error *error)
{
        int r;

        if (p->im->skip_write)
                r = ctl_skipwrite_collect(p->drives[0].path, key_of(p, &p->drives[0]), p->sources,
                                          p->n_rows, &p->items, error);
        else
                r = ctl_items_collect(p->sources, p->n_rows, p->im->session, note_left_out, p,
                                      &p->items, error);
        for (size_t i = 0; r == 0 && i < p->items.n_items; i++)
                r = check_item(p, &p->items.items[i], error);
        if (r == 0)
                r = check_doubles(&p->items, error);
        if (r == 0 && p->items.n_items == 0)
                r = bth_error_set(error, -ENODATA, BTH_REASON_VALUE_MISSING,
                                  "there is no file to copy");
        if (r < 0)
                return r;
        if (p->n_notes > DOUBTS_SHOWN)
                ctl_warn(p->im->context, "%zu things in all were left out", p->n_notes);
        if (p->n_doubts > DOUBTS_SHOWN)
                ctl_warn(p->im->context, "%zu blob names in all may give clients trouble",
                         p->n_doubts);
        return 0;
}

/* -- drives
 * ------------------------------------------------------------------------------------------- */

static int add_drive(struct plan *p, const char *path, bool format, bool prompt,
                     struct bth_secret *key, struct bth_error *error)
{
        struct candidate *d, *grown = reallocarray(p->drives, p->n_drives + 1, sizeof *grown);
        struct stat st;
        int r;

        if (!grown) {
                (void)bth_secret_free(key);
                return no_memory(error);
        }
        p->drives = grown;
        d = &p->drives[p->n_drives++];
        *d = (struct candidate){
                .path = strdup(path), .format = format, .prompt = prompt, .key = key
        };
        if (!d->path)
                return no_memory(error);
        r = make_absolute(&d->path, error);
        if (r == 0)
                r = ctl_drive_serial(path, &d->serial, error);
        if (r == 0 && stat(path, &st) < 0)
                r = bth_error_set(error, -errno, BTH_REASON_FILE_UNREADABLE,
                                  "it cannot be opened: %s", bth_strerror(-errno));
        if (r < 0)
                return r;
        d->device = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
        d->inode = S_ISBLK(st.st_mode) ? 0 : st.st_ino;
        for (size_t i = 0; i + 1 < p->n_drives; i++) {
                const struct candidate *other = &p->drives[i];

                bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
                if (other->device == d->device && other->inode == d->inode)
                        return bth_error_set(error, -EEXIST, BTH_REASON_VALUE_INVALID,
                                             "'%s' is the same drive", other->path);
                if (bth_ascii_casecmp(other->serial, d->serial) == 0)
                        return bth_error_set(error, -EEXIST, BTH_REASON_VALUE_INVALID,
                                             "'%s' has the same serial number, %s", other->path,
                                             d->serial);
        }
        return 0;
}

static int take_driveset_row(struct plan *p, struct med_driveset_row *row, const char *file,
                             struct bth_error *error)
{
        bth_error_at(error, file, row->line, BTH_ERROR_NO_OFFSET);
        if (row->is_letter)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                     "there are no drive letters here: name the device or image in "
                                     "the place of '%s'",
                                     row->drive);
        if (!row->format && row->encrypt)
                return bth_error_set(error, -ENOTSUP, BTH_REASON_UNSUPPORTED,
                                     "'%s': a drive that holds data cannot be encrypted here; let "
                                     "it be formatted, or "
                                     "encrypt it on Windows first",
                                     row->drive);
        return add_drive(p, row->drive, row->format, row->prompt, take_ptr(row->key), error);
}

static int take_driveset(struct plan *p, const char *file, struct bth_error *error)
{
        const struct med_findings to = { ctl_findings_take, &p->im->findings, file };
        _cleanup_(med_driveset_freep) struct med_driveset *set = NULL;
        _cleanup_(bth_secret_freep) struct bth_secret *text = NULL;
        _cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        /* It holds keys. */
        int r = fd < 0 ? -errno : bth_secret_new_from_fd(fd, DRIVESET_MAX_BYTES, false, &text);

        bth_error_at(error, file, 0, BTH_ERROR_NO_OFFSET);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE, "it cannot be read: %s",
                                     bth_strerror(r));
        r = med_driveset_parse((const char *)text->data, text->length_bytes, &to, &set, error);
        if (r == 0 && set->n_errors > 0)
                r = bth_error_set(error, -EINVAL, BTH_REASON_SYNTAX, "the drive set has %u errors",
                                  set->n_errors);
        for (size_t i = 0; r == 0 && i < set->n_rows; i++)
                r = take_driveset_row(p, &set->rows[i], file, error);
        return r;
}

/* Every drive that the journal knows with its place. */
static int take_known(struct plan *p, struct bth_error *error)
{
        int r = 0;

        for (size_t i = 0; p->journal && r == 0 && i < p->journal->n_drives; i++) {
                const char *serial = p->journal->drives[i].drive_id;
                const char *path = ctl_journal_of_drive(p->journal, serial, "BerthPath");

                if (path && p->journal->drives[i].bitlocker_key)
                        r = add_drive(p, path, false, false, NULL, error);
        }
        return r;
}

static int take_one_drive(struct plan *p, struct bth_error *error)
{
        struct cry_credential credential;
        struct bth_secret *key = NULL;
        int r = ctl_key_read(&p->im->key, &credential, &key, error);

        if (r < 0)
                return r;
        if (credential.kind == CRY_CREDENTIAL_PASSWORD) {
                (void)bth_secret_free(key);
                return usage(error,
                             "a journal cannot hold a user password: give the recovery password");
        }
        if (p->im->format && key) {
                (void)bth_secret_free(key);
                return usage(error, "--format makes a new key: give none");
        }
        return add_drive(p, p->im->drive, p->im->format, !p->im->silent, key, error);
}

static int take_drives(struct plan *p, struct bth_error *error)
{
        int r = 0;

        if (p->im->drive)
                r = take_one_drive(p, error);
        else if (p->im->driveset)
                r = take_driveset(p, p->im->driveset, error);
        else
                r = take_known(p, error);
        if (r == 0 && p->im->more_drives)
                r = take_driveset(p, p->im->more_drives, error);
        if (r == 0 && p->n_drives == 0) {
                r = usage(error, "no drive was named");
                bth_error_advise(error, "give --driveset FILE, or --drive DRIVE");
        }
        if (r == 0 && p->n_drives > MED_DRIVESET_JOB_DRIVES)
                ctl_warn(p->im->context,
                         "%zu drives: a job takes 10, so there will be more than one job",
                         p->n_drives);
        if (r == 0 && p->im->skip_write && (p->n_drives != 1 || p->drives[0].format))
                r = usage(error, "--skip-write takes one drive that holds its data already");
        return r;
}

/* -- room
 * --------------------------------------------------------------------------------------------- */

static uint32_t sector_bytes_of(int fd)
{
        int bytes = 0;

        return ioctl(fd, BLKSSZGET, &bytes) == 0 && bytes == 4096 ? 4096 : 512;
}

/* Opens a drive that is to be formatted, after asking where it holds data. */
static int open_to_format(struct plan *p, const struct candidate *d, int *ret_fd,
                          uint64_t *ret_bytes, struct bth_error *error)
{
        const struct cry_target_params careful = { .destroy = !d->prompt };
        const struct cry_target_params agreed = { .destroy = true };
        char question[640];
        int r = cry_target_open(d->path, &careful, ret_fd, ret_bytes, error);

        if (r != -ENOTEMPTY || p->im->context->dry_run)
                return r == -ENOTEMPTY ? cry_target_open(d->path, &agreed, ret_fd, ret_bytes, error)
                                       : r;
        (void)snprintf(question, sizeof question, "Drive %s (%s): %s. Erase it", d->serial, d->path,
                       error->sentence);
        if (!ctl_confirm(p->im->context, question)) {
                p->refused = true;
                bth_error_advise(error, "say yes, give --yes, or set SilentMode for this drive");
                return r;
        }
        bth_error_clear(error);
        return cry_target_open(d->path, &agreed, ret_fd, ret_bytes, error);
}

static int measure_new(struct plan *p, struct candidate *d, struct bth_error *error)
{
        const struct med_journal_drive *known =
                p->journal ? med_journal_drive(p->journal, d->serial) : NULL;
        _cleanup_close_ int fd = BTH_FD_NONE;
        struct ctl_format f;
        uint64_t bytes = 0;
        int r;

        bth_error_at(error, d->path, 0, BTH_ERROR_NO_OFFSET);
        if (known && known->manifest_hash) {
                (void)bth_error_set(error, -EEXIST, BTH_REASON_DEVICE_NOT_EMPTY,
                                    "drive %s holds finished sessions of this journal", d->serial);
                bth_error_advise(error, "leave the drive set out to add a session to it");
                return -EEXIST;
        }
        r = open_to_format(p, d, &fd, &bytes, error);
        if (r < 0)
                return r;
        if (sector_bytes_of(fd) == 4096)
                ctl_warn(p->im->context,
                         "%s has sectors of 4096 bytes, which data centres may refuse", d->path);
        r = ctl_format_prepare(bytes, sector_bytes_of(fd), NULL, &f, error);
        if (r < 0)
                return r;
        d->free_bytes = f.free_bytes;
        d->cluster_bytes = f.cluster_bytes;
        ctl_format_clear(&f);
        return 0;
}

/* The session's folders must be its own: NTFS takes "Photos" and "photos" for one, and an abort
 * takes off the drive what lies in them. */
static int check_folders(const struct plan *p, struct ctl_volume *v, struct bth_error *error)
{
        static const char *const endings[] = { "", ".sidecars" };

        for (size_t i = p->im->skip_write ? 1 : 0; i < ARRAY_SIZE(endings); i++) {
                char path[64];
                int r;

                (void)snprintf(path, sizeof path, "\\%s%s", p->im->session, endings[i]);
                r = med_ntfs_writer_exists(v->writer, path, error);
                if (r < 0)
                        return r;
                if (r > 0) {
                        (void)bth_error_set(error, -EEXIST, BTH_REASON_USAGE,
                                            "the drive has '%s' already, which would be this "
                                            "session's folder",
                                            path);
                        bth_error_advise(error, "choose another session id");
                        return -EEXIST;
                }
        }
        return 0;
}

/* A drive that has its volume: does the key fit, is there no strange manifest, how much is free? */
static int measure_old(struct plan *p, struct candidate *d, struct bth_error *error)
{
        const struct cry_target_params keep = {
                .destroy = true
        }; /* only to hold it: nothing is destroyed */
        const struct med_journal_drive *known =
                p->journal ? med_journal_drive(p->journal, d->serial) : NULL;
        const struct bth_secret *key = key_of(p, d);
        _cleanup_(ctl_volume_closep) struct ctl_volume *v = NULL;
        struct cry_credential credential = { .secret = key };
        uint64_t bytes;
        int fd, r;

        bth_error_at(error, d->path, 0, BTH_ERROR_NO_OFFSET);
        if (!key) {
                r = bth_error_set(error, -ENOKEY, BTH_REASON_VALUE_MISSING,
                                  "no key of drive %s is known", d->serial);
                bth_error_advise(
                        error,
                        "give ExistingBitLockerKey in the drive set, or --recovery-key-file");
                return r;
        }
        credential.kind = cry_credential_kind_of_journal_key(key);
        r = cry_target_open(d->path, &keep, &fd, &bytes, error);
        if (r == 0)
                r = ctl_volume_open(fd, &credential, NULL, &v, error);
        if (r < 0)
                return r;
        d->free_bytes = med_ntfs_writer_free_bytes(v->writer);
        d->cluster_bytes = med_ntfs_writer_cluster_bytes(v->writer);
        r = med_ntfs_writer_exists(v->writer, CTL_MANIFEST_PATH, error);
        if (r > 0 && !(known && known->manifest_hash)) {
                r = bth_error_set(error, -EEXIST, BTH_REASON_USAGE,
                                  "the drive has a manifest that this journal does not know");
                bth_error_advise(
                        error,
                        "use the journal it was made with, or remove the file from the drive");
        }
        if (r == 0 && known && known->manifest_hash) {
                r = bth_error_set(error, -EBADMSG, BTH_REASON_NOT_A_MANIFEST,
                                  "the journal knows a manifest of drive %s, and it has none",
                                  d->serial);
                bth_error_advise(error, "begin a new journal for a drive that was emptied");
        }
        return r < 0 ? r : check_folders(p, v, error);
}

static int measure(struct plan *p, struct bth_error *error)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < p->n_drives; i++) {
                struct candidate *d = &p->drives[i];

                r = d->format ? measure_new(p, d, error) : measure_old(p, d, error);
                if (r == 0)
                        d->free_bytes -=
                                MIN(d->free_bytes, d->free_bytes / KEPT_SHARE + KEPT_BYTES);
        }
        return r;
}

static int too_few(struct plan *p, const struct ctl_distribution *d, struct bth_error *error)
{
        char size[32], room[32];
        uint64_t largest = 0;

        for (size_t i = 0; i < p->n_drives; i++)
                largest = MAX(largest, p->drives[i].free_bytes);
        ctl_bytes_text(largest, room);
        ctl_report(p->im->context, "moreDrives", json_integer((json_int_t)d->n_more_drives));
        bth_error_at(error, NULL, 0, BTH_ERROR_NO_OFFSET);
        if (d->n_too_large > 0) {
                bth_error_at(error, d->largest_unplaced->source_path, 0, BTH_ERROR_NO_OFFSET);
                return bth_error_set(error, -EFBIG, BTH_REASON_LIMIT_EXCEEDED,
                                     "%zu files are larger than the largest drive's room of %s; "
                                     "the largest has %s",
                                     d->n_too_large, room,
                                     ctl_bytes_text(d->largest_unplaced->size_bytes, size));
        }
        (void)bth_error_set(
                error, -ENOSPC, BTH_REASON_LIMIT_EXCEEDED,
                "%zu files with %s find no room: %zu more drives with room for %s are needed",
                d->n_unplaced, ctl_bytes_text(d->unplaced_bytes, size), d->n_more_drives, room);
        bth_error_advise(error, "add drives to the drive set; nothing was written");
        return -ENOSPC;
}

static int distribute(struct plan *p, struct bth_error *error)
{
        _cleanup_free_ struct ctl_target *targets = calloc(p->n_drives, sizeof *targets);
        struct ctl_cost cost = { .block_bytes = p->im->block_bytes,
                                 .more_bytes = p->im->content_md5 ? MD5_FILE_BYTES : 0 };
        struct ctl_distribution d;
        int r;

        if (!targets)
                return no_memory(error);
        if (p->im->skip_write)
                return 0; /* everything is where it is: on the one drive */
        for (size_t i = 0; i < p->n_drives; i++) {
                targets[i].free_bytes = p->drives[i].free_bytes;
                cost.cluster_bytes = MAX(cost.cluster_bytes, p->drives[i].cluster_bytes);
        }
        r = ctl_distribute(&p->items, &cost, targets, p->n_drives, &d);
        if (r < 0)
                return no_memory(error);
        return d.n_unplaced > 0 ? too_few(p, &d, error) : 0;
}

/* -- all of it
 * ---------------------------------------------------------------------------------------- */

static void show(struct plan *p)
{
        struct ctl_context *c = p->im->context;
        json_t *list = json_array();
        char size[32], room[32];

        ctl_say(c, "session %s: %zu files, %s", p->im->session, p->items.n_items,
                ctl_bytes_text(p->items.total_bytes, size));
        for (size_t i = 0; i < p->n_drives; i++) {
                uint64_t bytes = 0;
                size_t n = 0;

                for (size_t k = 0; k < p->items.n_items; k++)
                        if (p->items.items[k].drive == i) {
                                n++;
                                bytes += p->items.items[k].size_bytes;
                        }
                ctl_say(c, "  drive %-20s %zu files, %s of %s%s", p->drives[i].serial, n,
                        ctl_bytes_text(bytes, size), ctl_bytes_text(p->drives[i].free_bytes, room),
                        p->drives[i].format ? ", is formatted" : "");
                (void)json_array_append_new(
                        list, json_pack("{s:s, s:s, s:I, s:I, s:I, s:b}", "driveId",
                                        p->drives[i].serial, "path", p->drives[i].path, "files",
                                        (json_int_t)n, "bytes", (json_int_t)bytes, "roomBytes",
                                        (json_int_t)p->drives[i].free_bytes, "format",
                                        (int)p->drives[i].format));
        }
        ctl_report(c, "session", json_string(p->im->session));
        ctl_report(c, "files", json_integer((json_int_t)p->items.n_items));
        ctl_report(c, "bytes", ctl_json_bytes(p->items.total_bytes));
        ctl_report(c, "plan", list);
}

static json_t *header_of(const struct plan *p)
{
        json_t *rows = json_array(), *drives = json_array();
        int r = rows && drives ? 0 : -1;

        for (size_t i = 0; r == 0 && i < p->n_rows; i++)
                r = json_array_append_new(rows, ctl_session_row_to_json(&p->rows[i]));
        for (size_t i = 0; r == 0 && i < p->n_drives; i++) {
                const struct ctl_session_drive d = { p->drives[i].path, p->drives[i].serial,
                                                     p->drives[i].format };

                r = json_array_append_new(drives, ctl_session_drive_to_json(&d));
        }
        if (r < 0) {
                json_decref(rows);
                json_decref(drives);
                return NULL;
        }
        return json_pack("{s:s, s:I, s:b, s:b, s:o, s:o}", "session", p->im->session, "blockBytes",
                         (json_int_t)p->im->block_bytes, "contentMd5", (int)p->im->content_md5,
                         "skipWrite", (int)p->im->skip_write, "rows", rows, "drives", drives);
}

/* What the journal must know before anything is done: where the drives are, and keys that are new
 * to it. */
static int note_drives(struct plan *p, struct bth_error *error)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < p->n_drives; i++) {
                const struct candidate *d = &p->drives[i];
                const char *path = ctl_journal_of_drive(p->journal, d->serial, "BerthPath");
                const struct med_journal_drive *known =
                        p->journal ? med_journal_drive(p->journal, d->serial) : NULL;
                struct med_journal_drive info = { .drive_id = d->serial, .bitlocker_key = d->key };

                if (d->format) /* again, if it was formatted for a session that was aborted */
                        r = ctl_journal_note_drive(p->im->journal, d->serial, "BerthFormat",
                                                   "Planned", error);
                if (r == 0 && !bth_streq(path, d->path))
                        r = ctl_journal_note_drive(p->im->journal, d->serial, "BerthPath", d->path,
                                                   error);
                if (r == 0 && d->key &&
                    !(known && known->bitlocker_key &&
                      bth_secret_equal(known->bitlocker_key, d->key))) {
                        if (known) { /* only its key is another one */
                                info.manifest_file = known->manifest_file;
                                info.manifest_hash = known->manifest_hash;
                        }
                        r = ctl_journal_note_info(p->im->journal, &info, error);
                }
        }
        return r;
}

static int store(struct plan *p, json_t *header, struct bth_error *error)
{
        _cleanup_free_ char *path = ctl_import_file(p->im, SIZE_MAX, "plan");
        char *slash = path ? strrchr(path, '/') : NULL;
        int r;

        if (!slash)
                return no_memory(error);
        *slash = '\0';
        r = mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
        if (r < 0) {
                bth_error_at(error, path, 0, BTH_ERROR_NO_OFFSET);
                return bth_error_set(error, r, BTH_REASON_FILE_UNWRITABLE,
                                     "the folder cannot be made: %s", bth_strerror(r));
        }
        *slash = '/';
        r = note_drives(p, error);
        if (r == 0)
                r = ctl_plan_write(path, header, &p->items, error);
        if (r == 0)
                r = ctl_journal_note_session(p->im->journal, p->im->session, CTL_SESSION_STARTED,
                                             error);
        return r;
}

/* The session of a plan that lies beside the journal. */
static bool find_plan(const struct plan *p, char out[NAME_MAX + 1])
{
        _cleanup_free_ char *folder = NULL;
        const struct dirent *e;
        bool found = false;
        DIR *d;

        if (asprintf(&folder, "%s.d", p->im->journal) < 0)
                return false;
        d = opendir(folder);
        while (!found && d && (e = readdir(d))) {
                found = bth_ends_with(e->d_name, ".plan");
                if (found)
                        (void)snprintf(out, NAME_MAX + 1, "%.*s",
                                       (int)(strlen(e->d_name) - strlen(".plan")), e->d_name);
        }
        if (d)
                closedir(d);
        return found;
}

/* May a session of this id begin? */
static int check_session(const struct plan *p, struct bth_error *error)
{
        const char *open = ctl_journal_open_session(p->journal);
        char planned[NAME_MAX + 1];
        int r = med_check_session_id(p->im->session, error);

        if (r < 0)
                return r;
        bth_error_at(error, p->im->journal, 0, BTH_ERROR_NO_OFFSET);
        if (ctl_journal_session(p->journal, p->im->session) == CTL_SESSION_COMPLETED)
                return bth_error_set(error, -EEXIST, BTH_REASON_USAGE,
                                     "session %s was finished: choose another id for more",
                                     p->im->session);
        if (ctl_journal_session(p->journal, p->im->session) == CTL_SESSION_ABORTED &&
            !p->im->context->dry_run)
                ctl_import_forget(p->im);
        if (!open && find_plan(p, planned)) /* and the journal did not hear of it any more */
                open = planned;

        if (open) {
                (void)bth_error_set(error, -EEXIST, BTH_REASON_USAGE, "session %s was not finished",
                                    open);
                bth_error_advise(error, "go on with --resume, or give it up with --abort");
                return -EEXIST;
        }
        return 0;
}

static int make_plan(struct plan *p, struct bth_error *error)
{
        int r = ctl_import_journal(p->im, &p->journal, error);

        if (r == 0)
                r = check_session(p, error);
        if (r == 0)
                r = take_rows(p, error);
        if (r == 0)
                r = take_drives(p, error);
        if (r == 0)
                r = take_files(p, error);
        if (r == 0)
                r = measure(p, error);
        if (r == 0)
                r = distribute(p, error);
        return r;
}

int ctl_import_plan(struct ctl_import *im, struct ctl_session *ret_session, enum ctl_exit *ret_exit,
                    struct bth_error *error)
{
        _cleanup_(plan_clear) struct plan p = { .im = im };
        json_t *header;
        int r = make_plan(&p, error);

        *ret_exit = p.refused                                    ? CTL_EXIT_REFUSED
                    : error && error->reason == BTH_REASON_USAGE ? CTL_EXIT_USAGE
                                                                 : CTL_EXIT_FAILED;
        if (r < 0)
                return r;
        show(&p);
        *ret_exit = CTL_EXIT_OK;
        if (im->context->dry_run)
                return 0;
        header = header_of(&p);
        if (!header)
                return no_memory(error);
        r = store(&p, header, error);
        if (r < 0) {
                json_decref(header);
                *ret_exit = CTL_EXIT_FAILED;
                return r;
        }
        r = ctl_session_read(header, ret_session);
        if (r < 0)
                return no_memory(error);
        ret_session->items = p.items;
        p.items = (struct ctl_items){ 0 };
        return 1;
}
