/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/lib/job-place.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/str.h"
#include "tests/lib/pg-world.h"

const struct job_policy policy;

int set_up(void **state)
{
        struct place *p = calloc(1, sizeof *p);

        assert_non_null(p);
        (void)snprintf(p->folder, sizeof p->folder, "/tmp/berth-store-XXXXXX");
        assert_non_null(mkdtemp(p->folder));
        (void)snprintf(p->path, sizeof p->path, "%s/berth.db", p->folder);
        if (pg_server())
                pg_url("store", p->path, sizeof p->path);
        *state = p;
        return 0;
}

int tear_down(void **state)
{
        struct place *p = *state;
        DIR *d = opendir(p->folder);
        const struct dirent *e;

        (void)job_store_close(p->store);
        if (pg_server())
                pg_drop("store");
        while (d && (e = readdir(d)))
                (void)unlinkat(dirfd(d), e->d_name, 0);
        (void)closedir(d);
        assert_int_equal(rmdir(p->folder), 0);
        free(p);
        return 0;
}

void open_store(struct place *p)
{
        OK(job_store_open(p->path, &p->store, &p->error));
}

void reopen(struct place *p)
{
        p->store = job_store_close(p->store);
        open_store(p);
}

uint64_t add_job(struct place *p, const char *name, size_t n)
{
        static const char *const serials[] = { "QX 7-1", "QX7-2", "QX7-3" };
        struct job_draft_drive drives[3] = { 0 };
        struct bth_secret *key;
        uint64_t id;

        assert_int_equal(bth_secret_new_copy("SECRETKEY-1234", 14, &key), 0);
        for (size_t i = 0; i < n; i++)
                drives[i] = (struct job_draft_drive){ .serial = serials[i],
                                                      .manifest_file = "\\DriveManifest.xml",
                                                      .manifest_hash = "AB",
                                                      .key = i == 0 ? key : NULL };
        OK(job_store_add(
                p->store,
                &(struct job_draft){ .name = name,
                                     .account = "/subscriptions/1/…/acct",
                                     .origin = "journal",
                                     .journal_name = "a.jrn",
                                     .accept_unshipped = true,
                                     .personal = { "{\"recipientName\":\"VERYPERSONAL\"}" },
                                     .drives = drives,
                                     .n_drives = n },
                false, T0, "uid 1000", &id, &p->error));
        (void)bth_secret_free(key);
        return id;
}

int act(struct place *p, uint64_t job, enum job_input_kind kind, size_t drive)
{
        const struct job_act a = { .job = job, .input = { .kind = kind, .drive = drive } };
        struct job_outcome out;

        p->error = BTH_ERROR_INIT;
        return job_store_apply(p->store, &a, &policy, T0 + 5, "uid 0", &out, &p->error);
}

struct job_record *get(struct place *p, uint64_t job)
{
        struct job_record *r;

        OK(job_store_get(p->store, job, &r, &p->error));
        return r;
}

int hear(void *userdata, const struct job_event *e)
{
        struct heard *h = userdata;
        const size_t n = strlen(h->text);

        if (n + 128 < sizeof h->text)
                (void)snprintf(h->text + n, sizeof h->text - n, "%s:%s ",
                               job_change_kind_to_string(e->kind), e->serial ? e->serial : "-");
        h->last = e->seq;
        h->n++;
        return 0;
}

struct heard events(struct place *p, struct job_event_filter f)
{
        struct heard h = { 0 };

        if (f.limit == 0)
                f.limit = JOB_STORE_PAGE_MAX;
        OK(job_store_events(p->store, &f, hear, &h, &p->error));
        return h;
}
