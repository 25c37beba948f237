/* SPDX-License-Identifier: GPL-3.0-or-later */
/* job-place - a store of jobs in a folder of its own, for tests of cmocka's: made by place's
 * set_up, taken away by tear_down. Failures fail the test that asks. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "jobs/event.h"
#include "jobs/store.h"

#define T0 UINT64_C(1900000000000000) /* 2030-03-17 */

struct place {
        char folder[64];
        char path[512];
        struct job_store *store;
        struct bth_error error;
};

#define OK(call)                                                                \
        do {                                                                    \
                p->error = BTH_ERROR_INIT;                                      \
                int ok_r = (call);                                              \
                if (ok_r < 0)                                                   \
                        fail_msg("%s: %d, %s", #call, ok_r, p->error.sentence); \
        } while (0)

/* "kind:subject kind:subject …" */
struct heard {
        char text[4096];
        uint64_t last;
        unsigned n;
        struct place *p;
};

extern const struct job_policy policy; /* all defaults */

int set_up(void **state);
int tear_down(void **state);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

void open_store(struct place *p);
void reopen(struct place *p);
/* Adds a job with `n` drives, at most 3, at T0. The first has a key. Its id. */
uint64_t add_job(struct place *p, const char *name, size_t n);
/* Something happens to a job's drive. Returns what job_store_apply() returns. */
int act(struct place *p, uint64_t job, enum job_input_kind kind, size_t drive);
struct job_record *get(struct place *p, uint64_t job);
/* Adds an event to a struct heard. Returns 0. */
int hear(void *userdata, const struct job_event *e);
/* Of the first page, when the filter has no limit. */
struct heard events(struct place *p, struct job_event_filter f);
