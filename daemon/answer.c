/* SPDX-License-Identifier: GPL-3.0-or-later */
/* answer - see answer.h. */
#include "daemon/answer.h"

#include <string.h>
#include <strings.h>

#include "base/order.h"
#include "base/secret.h"
#include "base/status.h"
#include "base/str.h"

#define ERROR_BYTES_MAX ((size_t)64 << 10) /* of a body that is looked at for a sentence */
#define SCOPE_MAX       512u               /* bytes: it is a part of every subject */

static int no_such(struct bth_error *error, const char *what)
{
        return bth_error_set(error, -EBADMSG, BTH_REASON_NETWORK,
                             "the job service's answer is none: %s", what);
}

/* --- headers --- */

/* The value of "Name: value\r\n", and its length, when it is that header. */
static const char *value_of(const char *line, size_t n, const char *name, size_t *ret_n)
{
        const size_t length = strlen(name);

        if (n <= length || strncasecmp(line, name, length) != 0 || line[length] != ':')
                return NULL;
        line += length + 1;
        n -= length + 1;
        while (n > 0 && (*line == ' ' || *line == '\t')) {
                line++;
                n--;
        }
        while (n > 0 && strchr("\r\n\t ", line[n - 1]) && line[n - 1] != '\0')
                n--;
        *ret_n = n;
        return line;
}

/* It goes back in If-None-Match: what is no entity-tag in ASCII must not come into a request. */
static bool is_tag(const char *value, size_t n)
{
        if (n >= 2 && value[0] == 'W' && value[1] == '/') {
                value += 2;
                n -= 2;
        }
        if (n < 2 || value[0] != '"' || value[n - 1] != '"')
                return false;
        for (size_t i = 1; i < n - 1; i++)
                if (value[i] <= ' ' || value[i] >= 0x7f || value[i] == '"')
                        return false;
        return true;
}

void dmn_answer_header(struct dmn_answer_head *head, const char *line, size_t n)
{
        const char *value;
        uint64_t seconds;
        size_t length;

        if (n >= 5 && strncasecmp(line, "HTTP/", 5) == 0) {
                *head = (struct dmn_answer_head){ 0 };
                return;
        }
        value = value_of(line, n, "etag", &length);
        if (value) {
                const bool good = length < sizeof head->etag && is_tag(value, length);

                memcpy(head->etag, value, good ? length : 0);
                head->etag[good ? length : 0] = '\0';
                return;
        }
        value = value_of(line, n, "retry-after", &length);
        if (!value)
                return;
        switch (bth_parse_u64_n(value, length, &seconds)) {
        case 0:
                head->retry_after_sec = MIN(seconds, (uint64_t)DMN_ANSWER_RETRY_MAX_SEC);
                break;
        case -ERANGE:
                head->retry_after_sec = DMN_ANSWER_RETRY_MAX_SEC;
                break;
        default: /* a date is the service's clock's, which need not be ours */
                break;
        }
}

/* --- jobs --- */

static void wipe(json_t *j)
{
        const char *name;
        json_t *value;
        size_t i;

        if (json_is_string(j))
                bth_wipe((char *)(uintptr_t)json_string_value(j), json_string_length(j));
        json_object_foreach(j, name, value) wipe(value);
        json_array_foreach(j, i, value) wipe(value);
}

void dmn_answer_jobs_clear(struct dmn_answer_jobs *list)
{
        wipe(list->jobs);
        json_decref(list->jobs);
        *list = (struct dmn_answer_jobs){ 0 };
}

/* An object of few scalars: all that a job and a drive have, but a job its drives. */
static bool is_flat(const json_t *o, const char *but)
{
        const char *name;
        json_t *value;

        if (!json_is_object(o) || json_object_size(o) > DMN_ANSWER_JOB_MEMBERS)
                return false;
        json_object_foreach((json_t *)(uintptr_t)o, name, value)
        {
                if ((json_is_array(value) || json_is_object(value)) && !bth_streq(name, but))
                        return false;
        }
        return true;
}

/* Little memory for each byte of it, so that the whole list is bounded by its bytes. */
static bool is_small(const json_t *job)
{
        const json_t *drives = json_object_get(job, "drives"), *drive;
        size_t i;

        if (!is_flat(job, "drives") || (drives && !json_is_array(drives)) ||
            json_array_size(drives) > DMN_ANSWER_JOB_MEMBERS)
                return false;
        json_array_foreach(drives, i, drive) if (!is_flat(drive, NULL)) return false;
        return true;
}

static int add_jobs(struct dmn_answer_jobs *list, json_t *jobs)
{
        json_t *job;
        size_t i;

        if (!list->jobs)
                list->jobs = json_array();
        if (!list->jobs)
                return -ENOMEM;
        json_array_foreach(jobs, i, job)
        {
                const bool small = is_small(job);

                if ((small ? json_array_append(list->jobs, job)
                           : json_array_append_new(list->jobs, json_null())) < 0)
                        return -ENOMEM;
        }
        return 0;
}

static int read_next(const json_t *page, uint64_t after, uint64_t *ret_next,
                     struct bth_error *error)
{
        int r = bth_json_get_u64(page, "next", ret_next);

        if (r == -ENOENT)
                *ret_next = 0;
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return no_such(error, "the next page has no number");
        return *ret_next > after ? 1 : no_such(error, "the list of jobs goes in a circle");
}

static int take_page(struct dmn_answer_jobs *list, json_t *page, struct bth_error *error)
{
        json_t *jobs = json_object_get(page, "jobs");
        uint64_t next;
        int r;

        if (!json_is_array(jobs))
                return no_such(error, "it has no list of jobs");
        r = read_next(page, list->after, &next, error);
        if (r < 0)
                return r;
        if (json_array_size(list->jobs) + json_array_size(jobs) > DMN_ANSWER_JOBS_MAX)
                return bth_error_set(error, -E2BIG, BTH_REASON_LIMIT_EXCEEDED,
                                     "the job service has more than %u jobs for this station",
                                     DMN_ANSWER_JOBS_MAX);
        if (add_jobs(list, jobs) < 0)
                return bth_error_set(error, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory");
        if (r == 1)
                list->after = next;
        return r;
}

int dmn_answer_jobs(struct dmn_answer_jobs *list, const char *body, size_t n,
                    struct bth_error *error)
{
        json_t *page = NULL;
        int r;

        list->bytes += MIN(n, (size_t)DMN_ANSWER_LIST_BYTES + 1);
        list->pages++;
        if (list->bytes > DMN_ANSWER_LIST_BYTES || list->pages > DMN_ANSWER_PAGES_MAX)
                return bth_error_set(error, -E2BIG, BTH_REASON_LIMIT_EXCEEDED,
                                     "the job service's list of jobs has no end: more than %u MiB, "
                                     "or %u pages",
                                     DMN_ANSWER_LIST_BYTES >> 20, DMN_ANSWER_PAGES_MAX);
        r = bth_json_parse(body, n, &page, error);
        if (r == 0)
                r = take_page(list, page, error);
        if (r < 0)
                wipe(page);
        json_decref(page);
        return r;
}

static int wrong(struct bth_error *error, const char *member, const char *is)
{
        return bth_error_set(error, -EBADMSG, BTH_REASON_VALUE_INVALID,
                             "'%s' of the job service's job %s", member, is);
}

static int check_text(const json_t *o, const char *key, size_t max, struct bth_error *error)
{
        const json_t *v = json_object_get(o, key);
        const char *s = json_string_value(v);

        if (!v || json_is_null(v))
                return 0;
        if (!s)
                return wrong(error, key, "is no text");
        if (json_string_length(v) > max)
                return wrong(error, key, "is too long");
        for (size_t i = 0; i < json_string_length(v); i++)
                if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
                        return wrong(error, key, "has control characters");
        return 0;
}

static int check_flag(const json_t *o, const char *key, struct bth_error *error)
{
        bool flag;

        return bth_json_get_bool(o, key, &flag) == -EBADMSG
                       ? wrong(error, key, "is neither true nor false")
                       : 0;
}

static int check_progress(const json_t *drive, struct bth_error *error)
{
        static const char *const numbers[] = { "bytes", "bytes_done", "blobs", "blobs_done" };
        uint64_t n[ARRAY_SIZE(numbers)] = { 0 };

        for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
                if (bth_json_get_u64(drive, numbers[i], &n[i]) == -EBADMSG)
                        return wrong(error, numbers[i], "is no number from 0");
        if (n[1] > n[0])
                return wrong(error, "bytes_done", "is more than there is");
        return n[3] > n[2] ? wrong(error, "blobs_done", "is more than there is") : 0;
}

static int check_drive(const json_t *drive, struct bth_error *error)
{
        static const char *const texts[] = { "serial",      "manifest_file", "manifest_hash",
                                             "header_hash", "state",         "copy_status",
                                             "at" };
        const char *state = NULL, *status = NULL;
        int r = json_is_object(drive) ? 0 : wrong(error, "drives", "has one that is no object");

        for (size_t i = 0; i < ARRAY_SIZE(texts) && r == 0; i++)
                r = check_text(drive, texts[i], DMN_ANSWER_TEXT_MAX, error);
        if (r == 0)
                r = check_text(drive, "key", BTH_ORDER_SECRET_MAX, error);
        if (r == 0)
                r = check_progress(drive, error);
        if (r < 0)
                return r;
        if (bth_json_get_string(drive, "state", &state) == 0 &&
            (int)bth_drive_state_from_string(state) < 0)
                return wrong(error, "state", "is no state of a drive");
        if (bth_json_get_string(drive, "copy_status", &status) == 0 &&
            !bth_streq(status, "InProgress") && (int)bth_drive_status_from_string(status) < 0)
                return wrong(error, "copy_status", "is not known");
        return 0;
}

int dmn_answer_job_check(const json_t *job, struct bth_error *error)
{
        static const char *const texts[] = { "name", "account", "location", "diagnostics" };
        static const char *const flags[] = { "verbose_log", "backup_manifest", "accept_unshipped",
                                             "shipped", "cancel_requested" };
        const json_t *drives = json_object_get(job, "drives"), *drive;
        int r = json_is_object(job) ? 0
                                    : wrong(error, "jobs", "is no job, or has too many members");
        size_t i;

        if (r == 0)
                r = check_text(job, "scope", SCOPE_MAX, error);
        for (i = 0; i < ARRAY_SIZE(texts) && r == 0; i++)
                r = check_text(job, texts[i], DMN_ANSWER_TEXT_MAX, error);
        for (i = 0; i < ARRAY_SIZE(flags) && r == 0; i++)
                r = check_flag(job, flags[i], error);
        if (r == 0 && !json_is_array(drives))
                r = wrong(error, "drives", "is no list");
        for (i = 0; i < json_array_size(drives) && r == 0; i++) {
                drive = json_array_get(drives, i);
                r = check_drive(drive, error);
        }
        return r;
}

/* --- events --- */

/* Which of the events that were sent a refusal is for; -EBADMSG: none. */
static int index_of(const json_t *item, const char *uid, const uint64_t *seqs, size_t n_seqs,
                    size_t *ret_index)
{
        const size_t n = strlen(uid);
        const char *id = NULL;
        uint64_t index, seq;
        int r = bth_json_get_string(item, "id", &id);

        if (r == 0) {
                if (strncmp(id, uid, n) != 0 || id[n] != '-' || bth_parse_u64(id + n + 1, &seq) < 0)
                        return -EBADMSG;
                for (size_t i = 0; i < n_seqs; i++)
                        if (seqs[i] == seq) {
                                *ret_index = i;
                                return 0;
                        }
                return -EBADMSG;
        }
        if (r != -ENOENT || bth_json_get_u64(item, "index", &index) < 0 || index >= n_seqs)
                return -EBADMSG;
        *ret_index = (size_t)index;
        return 0;
}

static void sentence_of(const json_t *error, char out[DMN_ANSWER_WHY_MAX])
{
        const char *text = json_string_value(json_object_get(error, "message"));

        text = text ? text : "";
        (void)bth_escape(text, strlen(text), out, DMN_ANSWER_WHY_MAX);
}

static int take_events(const json_t *refused, const char *uid, const uint64_t *seqs, size_t n_seqs,
                       const json_t **items, struct bth_error *error)
{
        const json_t *item;
        size_t i, k;

        if (!json_is_array(refused) || json_array_size(refused) > n_seqs)
                return no_such(error, "it does not say which events it refuses");
        json_array_foreach(refused, i, item)
        {
                if (index_of(item, uid, seqs, n_seqs, &k) < 0)
                        return no_such(error, "it refuses an event that was not sent");
                items[k] = item;
        }
        return 0;
}

int dmn_answer_events(const char *body, size_t n, const char *uid, const uint64_t *seqs,
                      size_t n_seqs, dmn_answer_refused_fn refused, void *userdata,
                      struct bth_error *error)
{
        _cleanup_free_ const json_t **items = calloc(n_seqs + 1, sizeof *items);
        _cleanup_json_ json_t *j = NULL;
        int r = items ? bth_json_parse(body, n, &j, error) : -ENOMEM;

        if (r == -EBADMSG)
                return no_such(error, "it is no JSON object");
        if (r == 0)
                r = take_events(json_object_get(j, "refused"), uid, seqs, n_seqs, items, error);
        for (size_t i = 0; i < n_seqs && r == 0; i++) {
                char why[DMN_ANSWER_WHY_MAX];

                if (!items[i])
                        continue;
                sentence_of(json_object_get(items[i], "error"), why);
                refused(userdata, i, why[0] ? why : "no reason was given");
        }
        return r;
}

/* --- refusals --- */

char *dmn_answer_sentence(const char *body, size_t n, char out[DMN_ANSWER_WHY_MAX])
{
        _cleanup_json_ json_t *j = NULL;

        out[0] = '\0';
        if (n > 0 && n <= ERROR_BYTES_MAX && bth_json_parse(body, n, &j, NULL) == 0)
                sentence_of(json_object_get(j, "error"), out);
        return out;
}
