/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A request of the local API, "METHOD TARGET\nBODY", goes the way of a real one behind the HTTP
 * server: route, body, call, verb, a real station and its store. Every call is answered once, and
 * every refusal says why. */
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/log.h"
#include "base/str.h"
#include "base/time.h"
#include "daemon/api.h"
#include "daemon/route.h"

#define METHOD_MAX 16

static char folder[64] = "/tmp/berth-fuzz-api-XXXXXX";
static sd_event *loop;
static struct job_thread *thread;
static struct dmn_station *station;
static unsigned answers;

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
        return remove(path);
}

static void end(void)
{
        station = dmn_station_free(station);
        thread = job_thread_free(thread);
        loop = sd_event_unref(loop);
        (void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void must(bool well)
{
        if (!well)
                abort();
}

/* A job, so that there is something to act on. */
static void make_job(struct job_store *store)
{
        const struct job_draft_drive drive = { .serial = "ONE1",
                                               .manifest_file = "\\m.xml",
                                               .manifest_hash =
                                                       "109B21108597EF36D5785F08303F3638" };
        const struct job_draft draft = {
                .name = "one", .account = "photos", .drives = &drive, .n_drives = 1
        };
        uint64_t job;

        must(job_store_add(store, &draft, false, bth_now_realtime_usec(), "fuzz", &job, NULL) == 0);
}

static void begin(void)
{
        struct dmn_station_options options = { .without_udev = true };
        uint8_t digest[BTH_DIGEST_MAX_BYTES];
        char text[512], path[128];
        struct job_store *store;
        sigset_t set;
        int n;

        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        must(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
        /* libcrypto sets itself up on this thread, which lives to the end: what it keeps for the
         * thread that was first would be called a leak. */
        must(bth_digest_of(BTH_DIGEST_SHA256, "", 0, digest) == 0);
        must(mkdtemp(folder) != NULL && sd_event_new(&loop) >= 0);
        (void)snprintf(path, sizeof path, "%s/bay", folder);
        must(mkdir(path, 0700) == 0);
        n = snprintf(text, sizeof text,
                     "[station]\nname = fuzz\nworker = /nonexistent\nstate_directory = %s\n"
                     "run_directory = %s\n[account photos]\ncredential = key\n"
                     "credential_file = %s/none\n[bay A1]\ndirectory = %s/bay\n",
                     folder, folder, folder, folder);
        must(dmn_config_parse(text, (size_t)n, "fuzz.conf", &options.config, NULL) == 0);
        (void)snprintf(path, sizeof path, "%s/store.db", folder);
        must(job_store_open(path, &store, NULL) == 0);
        make_job(store);
        must(job_thread_new(store, &thread) == 0);
        options.loop = loop;
        options.store = thread;
        options.config_path = path; /* no configuration: a reload is refused */
        must(dmn_station_new(&options, &station, NULL) == 0);
        (void)atexit(end);
}

static void on_reply(void *userdata, int r, json_t *answer, const struct bth_error *error)
{
        _cleanup_free_ char *text = NULL;

        answers++;
        must(r < 0 ? error->sentence[0] != '\0' : json_is_object(answer));
        text = r < 0 ? dmn_api_error_text(error) : bth_json_to_text(answer);
        must(text != NULL && (r == 0 || dmn_api_status(error->code) >= 400));
}

static void ask(struct dmn_route *route, json_t *body)
{
        struct dmn_call *call = NULL;

        if (dmn_call_new(route->verb, "fuzz", DMN_RIGHT_ADMIN, route->target,
                         take_ptr(route->query), body, &call) < 0)
                return;
        call->reply = on_reply;
        answers = 0;
        dmn_verb_call(station, call);
        while (answers == 0)
                must(sd_event_run(loop, UINT64_MAX) >= 0);
        must(answers == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        _cleanup_free_ char *text = strndup((const char *)data, n);
        struct bth_error e = BTH_ERROR_INIT;
        struct dmn_route route = { 0 };
        char *target, *body;
        json_t *json = NULL;

        if (!station)
                begin();
        if (!text)
                return 0;
        body = strchr(text, '\n');
        if (body)
                *body++ = '\0';
        target = strchr(text, ' ');
        if (!target || target - text > METHOD_MAX)
                return 0;
        *target++ = '\0';
        if (dmn_route_parse(text, target, &route, &e) < 0) {
                must(e.sentence[0] != '\0');
                dmn_route_clear(&route);
                return 0;
        }
        if (!body || body[0] == '\0' || bth_json_parse(body, strlen(body), &json, &e) == 0)
                ask(&route, json);
        else
                must(e.sentence[0] != '\0');
        dmn_route_clear(&route);
        return 0;
}
