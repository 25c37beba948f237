/* SPDX-License-Identifier: GPL-3.0-or-later */
/* report - once a second, what a transfer is doing and what it waits for.
 * Has a thread of its own, so that it also tells of a drive on which nothing moves. */
#pragma once

#include "uploader/budget.h"
#include "uploader/client.h"

#define UPL_REPORT_USEC UINT64_C(1000000)

struct upl_report {
        uint64_t elapsed_usec;  /* since the start */
        uint64_t bytes_per_sec; /* of bodies, since the report before, all attempts */
        uint64_t requests_per_sec;
        struct upl_client_state client;
        struct upl_budget_state budget;
        /* Since the report before, summed over all that waited; what they wait for most. */
        uint64_t waited_usec[_UPL_WAIT_MAX];
        enum upl_wait bottleneck; /* _UPL_WAIT_MAX: nobody waited */
        uint64_t paused_usec;     /* the credential has been refused for so long; 0: it is not */
};

/* One line for people: "12.3 MB/s, 8 of 16 requests in flight, waiting for network". Writes at most
 * `size_bytes` with NUL; returns `text`. */
char *upl_report_to_string(const struct upl_report *r, char *text, size_t size_bytes);

struct upl_reporter;
struct upl_reporter_options {
        struct upl_client *client; /* borrowed, as the budget is */
        struct upl_budget *budget;
        uint64_t interval_usec; /* 0: UPL_REPORT_USEC */
        /* Called on the reporter's thread; may block, which only delays the next. */
        void (*report)(void *userdata, const struct upl_report *report);
        void *userdata;
};
/* Returns 0, -ENOMEM, -errno of pthread_create(3). */
int upl_reporter_new(const struct upl_reporter_options *options, struct upl_reporter **ret_reporter)
        _must_check_;
/* Makes a last report and ends. NULL is fine; returns NULL. */
struct upl_reporter *upl_reporter_free(struct upl_reporter *r);
DEFINE_CLEANUP(upl_reporter_free, struct upl_reporter *);
