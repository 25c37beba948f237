/* SPDX-License-Identifier: GPL-3.0-or-later */
/* rest-read - what the job service tells of jobs: one, lists in pages, keys. On the store's thread.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "daemon/rest-act.h"

/* -- what belongs to a record
 * ------------------------------------------------------------------------ */

struct history {
        char *who;
        uint64_t usec;
        int result;
};

static int on_event(void *userdata, const struct job_event *event)
{
        struct history *h = userdata;

        h->usec = event->time_usec;
        h->who = event->who ? strdup(event->who) : NULL;
        h->result = event->who && !h->who ? -ENOMEM : 0;
        return h->result;
}

static int find_event(struct job_store *s, uint64_t job, bool newest, char **ret_who,
                      uint64_t *ret_usec, struct bth_error *error)
{
        const struct job_event_filter filter = {
                .job = job, .drive = JOB_NO_DRIVE, .newest_first = newest, .limit = 1
        };
        struct history h = { 0 };
        int r = job_store_events(s, &filter, on_event, &h, error);

        *ret_who = h.who;
        *ret_usec = h.usec;
        return r;
}

static int make_job(struct job_store *s, const struct job_record *r, enum dmn_rest_version version,
                    json_t **ret_json, struct bth_error *error)
{
        struct dmn_rest_more more = { 0 };
        int k = job_store_personal_all(s, r->id, more.personal, error);

        if (k == 0)
                k = find_event(s, r->id, false, &more.created_by, &more.created_usec, error);
        if (k == 0)
                k = find_event(s, r->id, true, &more.modified_by, &more.modified_usec, error);
        *ret_json = k == 0 ? dmn_rest_job(r, &more, version) : NULL;
        dmn_rest_more_clear(&more);
        return k < 0 ? k : *ret_json ? 0 : -ENOMEM;
}

/* -- one job
 * ------------------------------------------------------------------------------------------ */

static bool etag_fits(const char *etag, const struct job_record *r)
{
        char text[64];

        (void)snprintf(text, sizeof text, "\"%" PRIu64 "-%" PRIu64 "\"", r->id, r->revision);
        return strcmp(etag, "*") == 0 || strcmp(etag, text) == 0;
}

int dmn_rest_find(struct job_store *s, struct dmn_rest_act *a, struct job_record **ret_record,
                  struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        int r = job_store_find(s, a->route.scope, a->route.name, &record, error);

        if (r == -ENOENT) {
                bth_error_clear(error);
                return dmn_rest_fault(&a->fault, 404, "ResourceNotFound", NULL,
                                      "The resource 'Microsoft.ImportExport/jobs/%s' under '%s' "
                                      "was not found.",
                                      a->route.name, a->route.scope);
        }
        if (r < 0)
                return r;
        if (a->if_match && !etag_fits(a->if_match, record))
                return dmn_rest_fault(&a->fault, 412, "PreconditionFailed", NULL,
                                      "The job has changed since it was read.");
        *ret_record = take_ptr(record);
        return 0;
}

int dmn_rest_answer_job(struct job_store *s, struct dmn_rest_act *a, uint64_t job,
                        struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        int r = job_store_get(s, job, &record, error);

        if (r < 0)
                return r;
        a->is_job = true;
        a->job = record->id;
        a->revision = record->revision;
        return make_job(s, record, a->route.version, &a->answer, error);
}

int dmn_rest_get(struct job_store *s, void *act, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        struct dmn_rest_act *a = act;
        int r = dmn_rest_find(s, a, &record, error);

        return r < 0 ? r : dmn_rest_answer_job(s, a, record->id, error);
}

static int add_key(struct job_store *s, const struct job_record *r, size_t i, json_t *list,
                   struct bth_error *error)
{
        _cleanup_(bth_secret_freep) struct bth_secret *key = NULL;
        int k = r->drives[i].has_key ? job_store_key(s, r->id, i, &key, error) : 0;
        json_t *j;

        if (k < 0)
                return k;
        j = json_pack("{s:s,s:s%}", "driveId", r->drives[i].serial, "bitLockerKey",
                      key ? (const char *)key->data : "", key ? key->length_bytes : (size_t)0);
        return json_array_append_new(list, j) < 0 ? -ENOMEM : 0;
}

int dmn_rest_keys(struct job_store *s, void *act, struct bth_error *error)
{
        _cleanup_(job_record_freep) struct job_record *record = NULL;
        struct dmn_rest_act *a = act;
        json_t *list = json_array();
        int r = dmn_rest_find(s, a, &record, error);

        for (size_t i = 0; r == 0 && i < record->model.n_drives; i++)
                r = add_key(s, record, i, list, error);
        if (r < 0) {
                json_decref(list);
                return r;
        }
        a->answer = json_pack("{s:o}", "value", list);
        return a->answer ? 0 : -ENOMEM;
}

/* -- lists
 * -------------------------------------------------------------------------------------------- */

struct listing {
        struct dmn_rest_act *act;
        json_t *value;
        uint64_t last; /* the id of the last one */
        bool more;
};

/* In a list a job has no history: who wants to know who made it gets it by its name. */
static int on_record(void *userdata, const struct job_record *r)
{
        struct listing *l = userdata;
        struct dmn_rest_more more = { 0 };
        json_t *job;

        if (json_array_size(l->value) == l->act->route.top) {
                l->more = true;
                return 1;
        }
        l->last = r->id;
        memcpy(more.personal, r->personal, sizeof more.personal); /* borrowed */
        job = dmn_rest_job(r, &more, l->act->route.version);
        return json_array_append_new(l->value, job) < 0 ? -ENOMEM : 0;
}

static void add_escaped(struct bth_buf *b, const char *text, int *r)
{
        static const char plain[] =
                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";

        for (; *text && *r == 0; text++)
                *r = strchr(plain, *text)
                             ? bth_buf_add(b, text, 1)
                             : bth_buf_add_format(b, "%%%02X", (unsigned)(unsigned char)*text);
}

/* The address of the next page: the same question, beginning below the last job of this page. */
static int add_next_link(const struct dmn_rest_act *a, uint64_t last)
{
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
        int r = bth_buf_add_format(&b,
                                   "%s%s/providers/Microsoft.ImportExport/jobs?api-version=%s"
                                   "&%%24top=%u&%%24skiptoken=%" PRIu64,
                                   a->base, a->route.scope,
                                   dmn_rest_version_to_string(a->route.version), a->route.top,
                                   last);

        if (r == 0 && a->route.filter_text) {
                r = bth_buf_add_string(&b, "&%24filter=");
                add_escaped(&b, a->route.filter_text, &r);
        }
        if (r < 0)
                return r;
        return json_object_set_new(a->answer, "nextLink", json_string(b.data)) < 0 ? -ENOMEM : 0;
}

int dmn_rest_list(struct job_store *s, void *act, struct bth_error *error)
{
        struct dmn_rest_act *a = act;
        const char *tracking = a->route.filter.tracking;
        struct listing l = { .act = a, .value = json_array() };
        const struct job_filter filter = { .scope = a->route.scope,
                                           .state = a->route.filter.state,
                                           .tracking = tracking[0] != '\0' ? tracking : NULL,
                                           .personal = true,
                                           .before = a->route.before,
                                           .limit = a->route.top + 1u };
        int r = 0;

        a->is_job = true;
        a->answer = json_pack("{s:o}", "value", l.value);
        if (!a->answer)
                return -ENOMEM;
        if (a->route.filter.is_export != 1) /* of those there are none */
                r = job_store_list(s, &filter, on_record, &l, error);
        if (r < 0)
                return r;
        return l.more ? add_next_link(a, l.last) : 0;
}
