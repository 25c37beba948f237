/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker-journals - customers' journals, read where they can do no harm.
 *
 *     JOURNAL … with descriptors ─> bytes in memory ─> sandbox: no files, no connections, no
 * threads ─> parse ─> JOURNAL_DRIVE …, JOURNAL_READ ─> RESULT
 *
 * The first journal that cannot be read ends the run: its error is the result. What is only odd is
 * a note. One thread. Source: design, section 6; import-export specification 1. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "media/journal.h"
#include "uploader/sandbox.h"
#include "uploader/worker-internal.h"

#define TOTAL_BYTES_MAX (UINT64_C(64) << 20) /* of all journals of one run */
#define DATA_BYTES      (UINT64_C(640) << 20)
#define CPU_SEC         20u /* the largest journal takes a hundredth of it */
#define NOTES_MAX       64u

struct reading {
        struct upl_link *link;
        struct bth_journal journals[BTH_JOURNALS_MAX]; /* `fd` is closed once it was read */
        struct bth_secret *texts[BTH_JOURNALS_MAX];
        size_t n;
        uint64_t total_bytes, n_drives;
        unsigned n_notes;
};

/* The writer of a message only reads texts; ours are borrowed. NULL and "" mean none. */
static char *borrowed(const char *text)
{
        return text && *text ? (char *)(uintptr_t)text : NULL;
}

/* --- taking them --- */

static int out_of_order(struct bth_error *error)
{
        return bth_error_set(error, -EBADMSG, BTH_REASON_VALUE_INVALID,
                             "the journals did not come one after the other");
}

static int take_journal(struct reading *g, struct bth_frame *frame, struct bth_error *error)
{
        struct bth_message m;
        int r = bth_message_from_frame(frame, &m, error);

        if (r < 0)
                return r;
        if (m.type != BTH_MESSAGE_JOURNAL || m.journal.index != g->n || m.journal.count <= g->n ||
            (g->n > 0 && m.journal.count != g->journals[0].count)) {
                bth_message_clear(&m);
                return out_of_order(error);
        }
        g->journals[g->n++] = m.journal;
        return 0;
}

static int take_all(struct reading *g, struct bth_frame_reader *reader, struct bth_frame *first,
                    struct bth_error *error)
{
        int r = take_journal(g, first, error);

        while (r == 0 && g->n < g->journals[0].count) {
                _cleanup_(bth_frame_freep) struct bth_frame *f = NULL;

                r = bth_frame_read(reader, &f);
                if (r >= 0)
                        r = r > 0 ? take_journal(g, f, error) : out_of_order(error);
        }
        return r;
}

/* Errors from here on are the result, and name the journal. */
static int read_bytes(struct reading *g, size_t i, struct bth_error *error)
{
        struct bth_journal *j = &g->journals[i];
        struct stat st;
        int r;

        if (fstat(j->fd, &st) < 0 || !S_ISREG(st.st_mode) || lseek(j->fd, 0, SEEK_SET) != 0)
                return bth_error_set(error, -EINVAL, BTH_REASON_FILE_UNREADABLE,
                                     "it is not a regular file");
        r = bth_secret_new_from_fd(j->fd, MED_JOURNAL_MAX_BYTES, false, &g->texts[i]);
        j->fd = bth_close(j->fd);
        if (r == 0)
                g->total_bytes += g->texts[i]->length_bytes;
        if (r == -ENODATA)
                return bth_error_set(error, -EBADMSG, BTH_REASON_NOT_A_JOURNAL, "it is empty");
        if (r == -EFBIG || g->total_bytes > TOTAL_BYTES_MAX)
                return bth_error_set(error, -EFBIG, BTH_REASON_TOO_LARGE,
                                     r == -EFBIG ? "it is larger than 15 MiB"
                                                 : "all journals together are larger than 64 MiB");
        return r < 0 ? bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE, "it cannot be read: %s",
                                     bth_strerror(r))
                     : 0;
}

static int enter_sandbox(struct reading *g, struct bth_error *error)
{
        static const struct upl_sandbox_options o = { .data_bytes = DATA_BYTES,
                                                      .cpu_seconds = CPU_SEC,
                                                      .only_compute = true };
        struct upl_sandbox_level level;
        int r = upl_sandbox_enter(&o, &level, error);

        if (r == 0)
                upl_worker_sandbox_report(g->link, &level);
        return r;
}

/* --- reading them --- */

static void note(void *userdata, const struct med_finding *f)
{
        struct reading *g = userdata;
        const struct bth_message m = {
                .type = BTH_MESSAGE_NOTE,
                .note = { .name = borrowed(f->name),
                          .object = borrowed(f->object),
                          .line = f->line,
                          .sentence = borrowed(f->sentence),
                          .advice = borrowed(f->advice) },
        };

        if (g->n_notes++ < NOTES_MAX)
                upl_link_send(g->link, &m);
}

static int too_long(const struct med_journal_drive *d, const char *what, struct bth_error *error)
{
        bth_error_at(error, NULL, d->line, BTH_ERROR_NO_OFFSET);
        return bth_error_set(error, -EBADMSG, BTH_REASON_LIMIT_EXCEEDED,
                             "the %s of a drive is longer than any that is known", what);
}

static bool longer(const char *text, size_t max)
{
        return text && strlen(text) > max;
}

/* What its message has no room for is said by name. */
static int check_lengths(const struct med_journal_drive *d, struct bth_error *error)
{
        if (longer(d->drive_id, BTH_JOURNAL_SERIAL_MAX))
                return too_long(d, "DriveId", error);
        if (longer(d->manifest_file, BTH_JOURNAL_PATH_MAX))
                return too_long(d, "ManifestFile", error);
        if (longer(d->manifest_hash, BTH_JOURNAL_HASH_MAX))
                return too_long(d, "ManifestHash", error);
        if (longer(d->drive_header_hash, BTH_JOURNAL_HASH_MAX))
                return too_long(d, "DriveHeaderHash", error);
        if (d->bitlocker_key && d->bitlocker_key->length_bytes > BTH_JOURNAL_KEY_MAX)
                return too_long(d, "BitLockerKey", error);
        return 0;
}

static int send_drive(struct reading *g, size_t journal, const struct med_journal_drive *d,
                      struct bth_error *error)
{
        const struct bth_message m = {
                .type = BTH_MESSAGE_JOURNAL_DRIVE,
                .journal_drive = { .journal = journal,
                                   .line = d->line,
                                   .serial = d->drive_id,
                                   .manifest_file = borrowed(d->manifest_file),
                                   .manifest_hash = borrowed(d->manifest_hash),
                                   .header_hash = borrowed(d->drive_header_hash),
                                   .bitlocker_key = d->bitlocker_key },
        };
        int r = check_lengths(d, error);

        if (r == 0 && g->n_drives++ == BTH_JOURNAL_DRIVES_MAX)
                r = bth_error_set(error, -E2BIG, BTH_REASON_LIMIT_EXCEEDED,
                                  "the journals name more than %u drives", BTH_JOURNAL_DRIVES_MAX);
        if (r == 0)
                upl_link_send(g->link, &m);
        return r;
}

static int read_journal(struct reading *g, size_t i, struct bth_error *error)
{
        const char *name = g->journals[i].name;
        const struct med_findings findings = { .fn = note, .userdata = g, .object = name };
        _cleanup_(med_journal_freep) struct med_journal *j = NULL;
        struct bth_message m = { .type = BTH_MESSAGE_JOURNAL_READ };
        int r = med_journal_parse(g->texts[i]->data, g->texts[i]->length_bytes, &findings, &j,
                                  error);

        for (size_t k = 0; r == 0 && k < j->n_drives; k++)
                r = send_drive(g, i, &j->drives[k], error);
        if (r < 0)
                return r;
        m.journal_read = (struct bth_journal_read){
                .journal = i, .drives = j->n_drives, .is_xml = j->is_xml, .cut_off = j->cut_off
        };
        if (!longer(j->vocabulary, BTH_JOURNAL_HASH_MAX))
                m.journal_read.vocabulary = borrowed(j->vocabulary);
        upl_link_send(g->link, &m);
        g->texts[i] = bth_secret_free(g->texts[i]);
        return 0;
}

static int for_each(struct reading *g, int (*act)(struct reading *, size_t, struct bth_error *),
                    struct bth_error *error)
{
        int r = 0;

        for (size_t i = 0; i < g->n && r == 0; i++) {
                r = act(g, i, error);
                if (r < 0)
                        bth_error_at(error, g->journals[i].name, error->line, error->offset_bytes);
        }
        return r;
}

/* --- all --- */

/* Nobody listens to signals here: those that end a process shall. */
static void end_by_signals(void)
{
        sigset_t none;

        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void clear(struct reading *g)
{
        for (size_t i = 0; i < g->n; i++) {
                (void)bth_secret_free(g->texts[i]);
                (void)bth_close(g->journals[i].fd);
                free(g->journals[i].name);
        }
}

static int finish(const struct reading *g, int r, const struct bth_error *e)
{
        struct bth_message m = {
                .type = BTH_MESSAGE_RESULT,
                .result = { .end = r < 0 ? BTH_RUN_END_FAILED : BTH_RUN_END_FINISHED },
        };

        if (r < 0) {
                m.result.reason = borrowed(bth_reason_to_string(e->reason));
                m.result.object = borrowed(e->object);
                m.result.line = e->line;
                m.result.sentence = borrowed(e->sentence[0] ? e->sentence : bth_strerror(r));
                m.result.advice = borrowed(bth_error_advice(e));
        }
        r = upl_link_finish(g->link, &m);
        return r < 0 ? r : 0;
}

int upl_worker_journals(struct bth_frame_reader *reader, struct upl_link *link,
                        struct bth_frame *first, struct bth_error *error)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct reading g = { .link = link };
        int r = take_all(&g, reader, first, error);

        if (r < 0) {
                clear(&g);
                return r;
        }
        end_by_signals();
        r = for_each(&g, read_bytes, &e);
        if (r == 0)
                r = enter_sandbox(&g, &e);
        if (r == 0)
                r = for_each(&g, read_journal, &e);
        r = finish(&g, r, &e);
        clear(&g);
        return r;
}
