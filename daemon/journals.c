/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/journals.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/digest.h"
#include "base/io.h"
#include "daemon/worker.h"

struct dmn_journals {
        struct dmn_worker *worker;
        sd_event_source *timer;
        dmn_journals_fn done; /* NULL once it was called */
        void *userdata;
        char *names[BTH_JOURNALS_MAX];
        size_t n, n_read; /* n_read: the one that is being read */
        struct dmn_journals_result *result;
        struct bth_error broken; /* what was wrong with what the worker said */
};

static int no_memory(struct bth_error *error)
{
        return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory for a journal");
}

/* --- one journal --- */

struct dmn_journal *dmn_journal_free(struct dmn_journal *j)
{
        if (!j)
                return NULL;
        (void)bth_close(j->fd);
        free(j->name);
        free(j);
        return NULL;
}

static int seal(int fd)
{
        const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

        return fcntl(fd, F_ADD_SEALS, seals) < 0 ? -errno : 0;
}

static int to_hex(const uint8_t digest[BTH_SHA256_BYTES], char ret_hex[65])
{
        bth_hex_encode(digest, BTH_SHA256_BYTES, ret_hex);
        for (char *p = ret_hex; *p; p++)
                if (*p >= 'A' && *p <= 'F')
                        *p = (char)(*p - 'A' + 'a');
        return 0;
}

static int hash_hex(const void *data, size_t n, char ret_hex[65])
{
        uint8_t digest[BTH_SHA256_BYTES];
        int r = bth_digest_of(BTH_DIGEST_SHA256, data, n, digest);

        return r < 0 ? r : to_hex(digest, ret_hex);
}

static char *last_part(const char *name)
{
        const char *slash = name ? strrchr(name, '/') : NULL;

        if (slash)
                name = slash + 1;
        return strndup(name && *name ? name : "journal", BTH_JOURNAL_PATH_MAX);
}

static int fill(struct dmn_journal *j, const void *data, size_t n)
{
        int r;

        j->fd = memfd_create("berth-journal", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (j->fd < 0)
                return -errno;
        r = bth_write_full(j->fd, data, n);
        if (r == 0)
                r = seal(j->fd);
        return r < 0 ? r : hash_hex(data, n, j->sha256);
}

int dmn_journal_new(const char *name, const void *data, size_t n, struct dmn_journal **ret_journal,
                    struct bth_error *error)
{
        _cleanup_(dmn_journal_freep) struct dmn_journal *j = calloc(1, sizeof *j);
        int r;

        if (!j)
                return no_memory(error);
        j->fd = BTH_FD_NONE;
        j->name = last_part(name);
        if (!j->name)
                return no_memory(error);
        bth_error_at(error, j->name, 0, BTH_ERROR_NO_OFFSET);
        if (n == 0)
                return bth_error_set(error, -EINVAL, BTH_REASON_NOT_A_JOURNAL, "it is empty");
        if (n > DMN_JOURNAL_MAX_BYTES)
                return bth_error_set(error, -EFBIG, BTH_REASON_TOO_LARGE,
                                     "it is larger than 15 MiB");
        r = fill(j, data, n);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_INTERNAL, "it cannot be kept: %s",
                                     bth_strerror(r));
        *ret_journal = take_ptr(j);
        return 0;
}

int dmn_journal_new_from_fd(const char *name, int fd, struct dmn_journal **ret_journal,
                            struct bth_error *error)
{
        _cleanup_(bth_secret_freep) struct bth_secret *bytes = NULL; /* there are keys in it */
        int r = lseek(fd, 0, SEEK_SET) < 0 ? -errno : 0;

        if (r == 0)
                r = bth_secret_new_from_fd(fd, DMN_JOURNAL_MAX_BYTES, false, &bytes);
        if (r == 0)
                return dmn_journal_new(name, bytes->data, bytes->length_bytes, ret_journal, error);
        bth_error_at(error, name, 0, BTH_ERROR_NO_OFFSET);
        if (r == -ENODATA)
                return bth_error_set(error, -EINVAL, BTH_REASON_NOT_A_JOURNAL, "it is empty");
        if (r == -EFBIG)
                return bth_error_set(error, r, BTH_REASON_TOO_LARGE, "it is larger than 15 MiB");
        return bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE, "it cannot be read: %s",
                             bth_strerror(r));
}

static int compare_hashes(const void *a, const void *b)
{
        return memcmp(a, b, 64);
}

int dmn_journals_sha256(struct dmn_journal *const *journals, size_t n, char ret_sha256[65])
{
        char all[BTH_JOURNALS_MAX][64];

        if (n == 0 || n > BTH_JOURNALS_MAX)
                return -EINVAL;
        if (n == 1) {
                memcpy(ret_sha256, journals[0]->sha256, 65);
                return 0;
        }
        for (size_t i = 0; i < n; i++)
                memcpy(all[i], journals[i]->sha256, 64);
        qsort(all, n, sizeof all[0], compare_hashes);
        return hash_hex(all, n * sizeof all[0], ret_sha256);
}

/* --- results --- */

struct dmn_journals_result *dmn_journals_result_free(struct dmn_journals_result *r)
{
        if (!r)
                return NULL;
        for (size_t i = 0; i < r->n_drives; i++) {
                free(r->drives[i].serial);
                free(r->drives[i].manifest_file);
                free(r->drives[i].manifest_hash);
                free(r->drives[i].header_hash);
                (void)bth_secret_free(r->drives[i].key);
        }
        for (size_t i = 0; i < r->n_notes; i++) {
                free(r->notes[i].journal);
                free(r->notes[i].name);
                free(r->notes[i].sentence);
                free(r->notes[i].advice);
        }
        free(r->drives);
        free(r->drafts);
        free(r->notes);
        free(r);
        return NULL;
}

/* Copies a text that may be missing. Returns false when there is no memory. */
static bool copy_text(char **to, const char *from)
{
        *to = from ? strdup(from) : NULL;
        return !from || *to;
}

static int add_drive(struct dmn_journals_result *res, const struct bth_journal_drive *d)
{
        struct dmn_journal_drive *grown =
                reallocarray(res->drives, res->n_drives + 1, sizeof *grown);
        struct dmn_journal_drive *new;

        if (!grown)
                return -ENOMEM;
        res->drives = grown;
        new = &grown[res->n_drives++];
        *new = (struct dmn_journal_drive){ .journal = d->journal, .line = d->line };
        if (!copy_text(&new->serial, d->serial) ||
            !copy_text(&new->manifest_file, d->manifest_file) ||
            !copy_text(&new->manifest_hash, d->manifest_hash) ||
            !copy_text(&new->header_hash, d->header_hash))
                return -ENOMEM;
        return d->bitlocker_key ? bth_secret_new_copy(d->bitlocker_key->data,
                                                      d->bitlocker_key->length_bytes, &new->key)
                                : 0;
}

static int add_note(struct dmn_journals_result *res, const struct bth_note_report *n)
{
        struct dmn_journal_note *grown, *new;

        if (res->n_notes == DMN_JOURNALS_NOTES_MAX)
                return 0;
        grown = reallocarray(res->notes, res->n_notes + 1, sizeof *grown);
        if (!grown)
                return -ENOMEM;
        res->notes = grown;
        new = &grown[res->n_notes++];
        *new = (struct dmn_journal_note){ .line = n->line };
        return copy_text(&new->journal, n->object ? n->object : "") &&
                               copy_text(&new->name, n->name) &&
                               copy_text(&new->sentence, n->sentence) &&
                               copy_text(&new->advice, n->advice)
                       ? 0
                       : -ENOMEM;
}

static int make_drafts(struct dmn_journals_result *res)
{
        res->drafts = calloc(res->n_drives, sizeof *res->drafts);
        if (!res->drafts)
                return -ENOMEM;
        for (size_t i = 0; i < res->n_drives; i++) {
                const struct dmn_journal_drive *d = &res->drives[i];

                res->drafts[i] = (struct job_draft_drive){ .serial = d->serial,
                                                           .manifest_file = d->manifest_file,
                                                           .manifest_hash = d->manifest_hash,
                                                           .header_hash = d->header_hash,
                                                           .key = d->key };
        }
        return 0;
}

/* --- what the worker says --- */

static const char *name_in_work(const struct dmn_journals *j)
{
        return j->names[MIN(j->n_read, j->n - 1)];
}

static void on_report(void *userdata, const struct bth_message *m)
{
        struct dmn_journals *j = userdata;
        int r = 0;

        if (j->broken.code < 0 || !j->done)
                return;
        switch (m->type) {
        case BTH_MESSAGE_SANDBOX:
                break;
        case BTH_MESSAGE_NOTE:
                r = add_note(j->result, &m->note);
                break;
        case BTH_MESSAGE_JOURNAL_DRIVE:
                r = m->journal_drive.journal == j->n_read && j->n_read < j->n &&
                                    j->result->n_drives < BTH_JOURNAL_DRIVES_MAX
                            ? add_drive(j->result, &m->journal_drive)
                            : -EBADMSG;
                break;
        case BTH_MESSAGE_JOURNAL_READ:
                r = m->journal_read.journal == j->n_read && j->n_read < j->n ? 0 : -EBADMSG;
                j->n_read++;
                break;
        default:
                r = -EBADMSG;
        }
        if (r == -ENOMEM)
                (void)no_memory(&j->broken);
        else if (r < 0)
                (void)bth_error_set(&j->broken, -EBADMSG, BTH_REASON_NOT_A_JOURNAL,
                                    "its reader said something out of turn");
}

static int code_of(enum bth_reason reason)
{
        switch (reason) {
        case BTH_REASON_OUT_OF_MEMORY:
                return -ENOMEM;
        case BTH_REASON_TOO_LARGE:
                return -EFBIG;
        case BTH_REASON_LIMIT_EXCEEDED:
                return -E2BIG;
        default:
                return -EBADMSG;
        }
}

/* The worker's error, in our words where it has none. */
static void take_failure(const struct bth_result_report *result, struct bth_error *error)
{
        int reason = (int)bth_reason_from_string(result->reason);

        if (reason < 0)
                reason = BTH_REASON_NOT_A_JOURNAL;
        bth_error_at(error, result->object, result->line, BTH_ERROR_NO_OFFSET);
        (void)bth_error_set(error, code_of((enum bth_reason)reason), (enum bth_reason)reason, "%s",
                            result->sentence ? result->sentence : "it cannot be read");
        if (result->advice)
                bth_error_advise(error, "%s", result->advice);
}

static void explain_end(const struct dmn_journals *j, const struct bth_error *why,
                        struct bth_error *error)
{
        bth_error_at(error, name_in_work(j), 0, BTH_ERROR_NO_OFFSET);
        if (why->code == -EIO)
                (void)bth_error_set(error, -EBADMSG, BTH_REASON_NOT_A_JOURNAL,
                                    "reading it ended its process: it is damaged, or made to do so "
                                    "(%s)",
                                    why->sentence);
        else
                (void)bth_error_set(error, -EBADMSG, BTH_REASON_NOT_A_JOURNAL,
                                    "reading it came to no end: %s", why->sentence);
}

static int check_result(const struct dmn_journals *j, struct bth_error *error)
{
        if (j->n_read != j->n)
                return bth_error_set(error, -EBADMSG, BTH_REASON_NOT_A_JOURNAL,
                                     "its reader ended before it was read");
        bth_error_at(error, j->n == 1 ? j->names[0] : NULL, 0, BTH_ERROR_NO_OFFSET);
        if (j->result->n_drives == 0)
                return bth_error_set(error, -EBADMSG, BTH_REASON_VALUE_MISSING,
                                     j->n == 1 ? "it names no drive"
                                               : "the journals name no drive");
        return make_drafts(j->result) < 0 ? no_memory(error) : 0;
}

/* Calls done(), after which `j` may be gone. */
static void finish(struct dmn_journals *j, const struct bth_error *error)
{
        dmn_journals_fn done = j->done;

        j->done = NULL;
        j->timer = sd_event_source_disable_unref(j->timer);
        if (!done)
                return;
        if (error)
                done(j->userdata, NULL, error);
        else
                done(j->userdata, take_ptr(j->result), NULL);
}

static void on_end(void *userdata, const struct bth_result_report *result,
                   const struct bth_error *why)
{
        struct dmn_journals *j = userdata;
        struct bth_error e = BTH_ERROR_INIT;

        if (j->broken.code < 0) {
                bth_error_at(&e, name_in_work(j), 0, BTH_ERROR_NO_OFFSET);
                (void)bth_error_set(&e, j->broken.code, j->broken.reason, "%s", j->broken.sentence);
        } else if (!result) {
                explain_end(j, why, &e);
        } else if (result->end != BTH_RUN_END_FINISHED) {
                take_failure(result, &e);
        } else {
                bth_error_at(&e, name_in_work(j), 0, BTH_ERROR_NO_OFFSET);
                if (check_result(j, &e) == 0) {
                        finish(j, NULL);
                        return;
                }
        }
        finish(j, &e);
}

static int on_timer(sd_event_source *s, uint64_t now_usec, void *userdata)
{
        struct dmn_journals *j = userdata;
        struct bth_error e = BTH_ERROR_INIT;

        (void)s;
        (void)now_usec;
        j->worker = dmn_worker_free(j->worker);
        bth_error_at(&e, name_in_work(j), 0, BTH_ERROR_NO_OFFSET);
        (void)bth_error_set(&e, -ETIME, BTH_REASON_NOT_A_JOURNAL,
                            "reading it took longer than %u seconds",
                            (unsigned)(DMN_JOURNALS_USEC / 1000000));
        finish(j, &e);
        return 0;
}

/* --- all --- */

static int start(struct dmn_journals *j, sd_event *loop, const char *program,
                 struct dmn_journal *const *journals, struct bth_error *error)
{
        static const struct dmn_worker_events events = { .on_report = on_report, .on_end = on_end };
        struct bth_message messages[BTH_JOURNALS_MAX];
        int r;

        for (size_t i = 0; i < j->n; i++) {
                j->names[i] = strdup(journals[i]->name);
                if (!j->names[i])
                        return no_memory(error);
                messages[i] = (struct bth_message){
                        .type = BTH_MESSAGE_JOURNAL,
                        .journal = { .fd = journals[i]->fd,
                                     .name = j->names[i],
                                     .index = i,
                                     .count = j->n },
                };
        }
        r = sd_event_add_time_relative(loop, &j->timer, CLOCK_MONOTONIC, DMN_JOURNALS_USEC, 0,
                                       on_timer, j);
        if (r < 0)
                return bth_error_set(error, r, BTH_REASON_INTERNAL, "no timer: %s",
                                     bth_strerror(r));
        r = dmn_worker_start_with(loop, program, messages, j->n, &events, j, &j->worker, error);
        /* That the station has no reader is no fault of who brought the journals. */
        if (r < 0 && r != -ENOMEM) {
                r = -EIO;
                if (error)
                        error->code = r;
        }
        return r;
}

int dmn_journals_read(sd_event *loop, const char *program, struct dmn_journal *const *journals,
                      size_t n, dmn_journals_fn done, void *userdata,
                      struct dmn_journals **ret_journals, struct bth_error *error)
{
        _cleanup_(dmn_journals_freep) struct dmn_journals *j = NULL;
        int r;

        if (n == 0)
                return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_MISSING,
                                     "there is no journal");
        if (n > BTH_JOURNALS_MAX)
                return bth_error_set(error, -E2BIG, BTH_REASON_LIMIT_EXCEEDED,
                                     "more than %u journals at once", BTH_JOURNALS_MAX);
        j = calloc(1, sizeof *j);
        if (!j)
                return no_memory(error);
        j->n = n;
        j->broken = BTH_ERROR_INIT;
        j->done = done;
        j->userdata = userdata;
        j->result = calloc(1, sizeof *j->result);
        r = j->result ? start(j, loop, program, journals, error) : no_memory(error);
        if (r < 0)
                return r;
        *ret_journals = take_ptr(j);
        return 0;
}

struct dmn_journals *dmn_journals_free(struct dmn_journals *j)
{
        if (!j)
                return NULL;
        j->done = NULL;
        j->worker = dmn_worker_free(j->worker);
        j->timer = sd_event_source_disable_unref(j->timer);
        (void)dmn_journals_result_free(j->result);
        for (size_t i = 0; i < j->n; i++)
                free(j->names[i]);
        free(j);
        return NULL;
}
