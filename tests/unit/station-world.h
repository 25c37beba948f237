/* SPDX-License-Identifier: GPL-3.0-or-later */
/* station-world - a folder, a configuration, a store on its thread and a loop, for tests of what a
 * station does beside its bays. */
#pragma once

#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <systemd/sd-event.h>

#include "base/io.h"
#include "base/str.h"
#include "daemon/config.h"
#include "jobs/thread.h"

struct world {
        char folder[64];
        sd_event *loop;
        sd_event_source *answers;
        struct job_thread *store;
        struct dmn_config *config;
};

static inline const char *world_path(const struct world *w, const char *name)
{
        static char paths[8][512];
        static unsigned next;
        char *path = paths[next++ % 8];

        (void)snprintf(path, sizeof paths[0], "%s/%s", w->folder, name);
        return path;
}

static inline void world_write(const struct world *w, const char *name, const char *text)
{
        assert_int_equal(bth_write_file_atomic(world_path(w, name), text, strlen(text), 0600), 0);
}

static inline int world_answer(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        (void)s;
        (void)fd;
        (void)revents;
        (void)job_thread_dispatch(userdata);
        return 0;
}

static inline void world_open_store(struct world *w)
{
        struct job_store *store;
        struct bth_error e = BTH_ERROR_INIT;

        if (job_store_open(world_path(w, "store.db"), &store, &e) < 0)
                fail_msg("%s", e.sentence);
        assert_int_equal(job_thread_new(store, &w->store), 0);
        assert_true(sd_event_add_io(w->loop, &w->answers, job_thread_fd(w->store), EPOLLIN,
                                    world_answer, w->store) >= 0);
}

static inline void world_close_store(struct world *w)
{
        w->answers = sd_event_source_disable_unref(w->answers);
        w->store = job_thread_free(w->store);
}

/* `more` is added to the configuration, which has the account "photos" and the real worker. */
static inline void world_new(struct world *w, const char *more)
{
        const char *build = getenv("BERTH_BUILD");
        char text[4096];
        struct bth_error e = BTH_ERROR_INIT;
        sigset_t set;

        *w = (struct world){ .folder = "/tmp/berth-test-station-XXXXXX" };
        assert_non_null(mkdtemp(w->folder));
        assert_int_equal(chmod(w->folder, 0700), 0);
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        assert_int_equal(sigprocmask(SIG_BLOCK, &set, NULL), 0);
        assert_true(sd_event_new(&w->loop) >= 0);
        (void)snprintf(text, sizeof text,
                       "[station]\nworker = %s/uploader/berth-worker\nlocation = Lab\n"
                       "[account photos]\nresource_id = /accounts/photos\ncredential = key\n"
                       "credential_file = photos\n%s",
                       build ? build : "/nonexistent", more ? more : "");
        if (dmn_config_parse(text, strlen(text), "test.conf", &w->config, &e) < 0)
                fail_msg("line %u: %s", (unsigned)e.line, e.sentence);
        world_open_store(w);
}

static inline int world_remove(const char *path, const struct stat *st, int kind, struct FTW *at)
{
        (void)st;
        (void)kind;
        (void)at;
        return remove(path);
}

static inline void world_free(struct world *w)
{
        world_close_store(w);
        w->config = dmn_config_free(w->config);
        w->loop = sd_event_unref(w->loop);
        (void)nftw(w->folder, world_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* The per-drive form of a journal. */
static inline const char *world_journal(const char *serial)
{
        static char texts[4][512];
        static unsigned next;
        char *text = texts[next++ % 4];

        (void)snprintf(text, sizeof texts[0],
                       "<Drive><DriveId>%s</DriveId><BitLockerKey>447062-369370-282953-484484-"
                       "205029-308352-340461-184679</BitLockerKey>"
                       "<ManifestFile>\\DriveManifest.xml</ManifestFile>"
                       "<ManifestHash>109B21108597EF36D5785F08303F3638</ManifestHash></Drive>",
                       serial);
        return text;
}
