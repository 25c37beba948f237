/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the job service answers: the first byte says what it is an answer to.
 *
 *     h  header lines           -> what goes back in If-None-Match is an entity-tag and nothing
 * else e  an answer to events    -> each is refused at most once, with a reason that can be shown
 *     s  the body of a refusal  -> a sentence without control characters
 *     j  pages of a list of jobs, a NUL between two -> into a real store: it stays whole, the same
 *        list again changes nothing, and each event that tells of it can be read by a hub */
#include <ftw.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "daemon/answer.h"
#include "daemon/sync.h"
#include "jobs/event.h"
#include "jobs/told.h"

#define UID      "0B5FA1C2-0000-4000-8000-0123456789AB"
#define N_EVENTS 5

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool well)
{
        if (!well)
                abort();
}

static void must_be_clean(const char *text)
{
        for (const char *p = text; *p; p++)
                must((unsigned char)*p >= ' ' && *p != 0x7f);
        must(bth_utf8_valid(text, strlen(text)));
}

/* --- headers --- */

static void headers(const char *text, size_t n)
{
        struct dmn_answer_head head = { 0 };

        while (n > 0) {
                const char *end = memchr(text, '\n', n);
                const size_t length = end ? (size_t)(end - text) + 1 : n;
                /* A copy, so that the sanitizer sees a read behind the line. */
                char *line = malloc(length);

                must(line != NULL);
                memcpy(line, text, length);
                dmn_answer_header(&head, line, length);
                free(line);
                text += length;
                n -= length;
        }
        must(head.retry_after_sec <= DMN_ANSWER_RETRY_MAX_SEC);
        must(memchr(head.etag, '\0', sizeof head.etag) != NULL);
        if (head.etag[0] == '\0')
                return;
        must_be_clean(head.etag);
        must(!strpbrk(head.etag, " \t,") || strchr(head.etag, ','));
        must(bth_ends_with(head.etag, "\"") && strlen(head.etag) >= 2);
        must(head.etag[0] == '"' || bth_starts_with(head.etag, "W/\""));
}

/* --- events --- */

static void refused(void *userdata, size_t index, const char *why)
{
        unsigned *seen = userdata;

        must(index < N_EVENTS && !(*seen & 1u << index) && why[0] != '\0' &&
             strlen(why) < DMN_ANSWER_WHY_MAX);
        must_be_clean(why);
        *seen |= 1u << index;
}

static void events(const char *text, size_t n)
{
        static const uint64_t seqs[N_EVENTS] = { 3, 17, 18, 900, UINT64_C(9007199254740993) };
        struct bth_error e = BTH_ERROR_INIT;
        unsigned seen = 0;
        int r = dmn_answer_events(text, n, UID, seqs, N_EVENTS, refused, &seen, &e);

        must(r == 0 || (seen == 0 && e.code == r && e.sentence[0] != '\0'));
        must_be_clean(e.sentence);
        /* Nothing was sent: nothing can be refused. */
        seen = 0;
        (void)!dmn_answer_events(text, n, UID, seqs, 0, refused, &seen, NULL);
        must(seen == 0);
}

static void sentence(const char *text, size_t n)
{
        char out[DMN_ANSWER_WHY_MAX];

        must(dmn_answer_sentence(text, n, out) == out);
        must_be_clean(out);
}

/* --- jobs --- */

static char folder[64];

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
        return remove(path);
}

static void clear(void)
{
        (void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A store of its own for each input, in memory where there is such a place. */
static struct job_store *new_store(void)
{
        struct job_store *s;
        char path[96];

        (void)snprintf(folder, sizeof folder, "%s/berth-fuzz-upstream-XXXXXX",
                       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        must(mkdtemp(folder) != NULL);
        (void)snprintf(path, sizeof path, "%s/store.db", folder);
        must(job_store_open(path, &s, NULL) == 0 && job_store_outbox_use(s, true, NULL) == 0);
        return s;
}

static int read_event(void *userdata, const struct job_event *event)
{
        _cleanup_free_ char *text = NULL;
        _cleanup_json_ json_t *j = NULL;
        struct bth_error e = BTH_ERROR_INIT;
        struct job_told told;

        must(job_event_to_json(event, UID, "/stations/fuzz", &text) == 0);
        must(bth_json_parse(text, strlen(text), &j, NULL) == 0);
        if (job_told_read(j, &told, &e) < 0) {
                fprintf(stderr, "a hub cannot read %s: %s\n", text, e.sentence);
                abort();
        }
        job_told_clear(&told);
        (*(unsigned *)userdata)++;
        return 0;
}

static void sync_list(const json_t *list)
{
        struct bth_error e = BTH_ERROR_INIT;
        struct job_store *s = new_store();
        struct job_event_filter all = { .drive = JOB_NO_DRIVE, .limit = JOB_STORE_PAGE_MAX };
        struct dmn_synced first = { 0 }, again;
        unsigned n_events = 0;
        int r = dmn_sync_jobs(s, list, "lab", &first, &e);

        must(r == 0 || e.sentence[0] != '\0');
        if (r == 0) {
                must_be_clean(first.trouble.sentence);
                must_be_clean(first.trouble.object);
                must(dmn_sync_jobs(s, list, "lab", &again, &e) == 0 && !again.changed);
        }
        must(job_store_check(s, &e) == 0);
        must(job_store_events(s, &all, read_event, &n_events, &e) == 0);
        must(!first.changed || n_events > 0);
        /* All of it is gone upstream: what has not begun ends. */
        if (r == 0) {
                json_t *none = json_array();

                must(dmn_sync_jobs(s, none, "lab", &again, &e) == 0);
                must(job_store_check(s, &e) == 0);
                json_decref(none);
        }
        must(job_store_close(s) == NULL);
        clear();
}

static void jobs(const char *text, size_t n)
{
        struct dmn_answer_jobs list = { 0 };
        struct bth_error e = BTH_ERROR_INIT;
        int r = 1;

        while (r == 1 && n > 0) {
                const uint64_t after = list.after;
                const char *end = memchr(text, '\0', n);
                const size_t length = end ? (size_t)(end - text) : n;

                r = dmn_answer_jobs(&list, text, length, &e);
                must(r >= 0 || (e.code == r && e.sentence[0] != '\0'));
                must(r != 1 || list.after > after);
                text += MIN(length + 1, n);
                n -= MIN(length + 1, n);
        }
        if (r == 0 && json_array_size(list.jobs) <= 100)
                sync_list(list.jobs);
        dmn_answer_jobs_clear(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        const char *text = (const char *)data + 1;

        if (n < 1)
                return 0;
        switch (data[0]) {
        case 'h':
                headers(text, n - 1);
                break;
        case 'e':
                events(text, n - 1);
                break;
        case 's':
                sentence(text, n - 1);
                break;
        case 'j':
                jobs(text, n - 1);
                break;
        default:
                break;
        }
        return 0;
}
