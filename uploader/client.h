/* SPDX-License-Identifier: GPL-3.0-or-later */
/* client - requests to one account: signed, bounded in number, retried, and counted.
 *
 *     call -> queue -> [limit in flight] -> sign -> transport -> classify -> done
 *               ^                                                  |
 *               +---- after a wait: transient, throttled ----------+
 *               +---- on a new credential: credentials ------------+
 *
 * The client has a thread of its own on which the transport lives; calls come from any thread.
 * Every attempt is built anew: date, request id, signature, body from its start.
 *
 * A credential that is refused twice, with nothing accepted between, makes a pause: nothing is sent
 * but one request a second, in turns a probe of the client's own (for a blob that nobody has, in a
 * container that is wanted) and a call that was refused, until a new credential comes or one of
 * them is accepted. To be accepted is any answer of the service that is not about who asks, also
 * "not found". A call whose credential is refused while others' is accepted is at fault itself:
 * refused once more after each of three such times, it ends with -EACCES and pauses nobody. Source:
 * house style, retry; blob-service specification 0. */
#pragma once

#include "uploader/auth.h"
#include "uploader/concurrency.h"
#include "uploader/retry.h"

#define UPL_SERVICE_VERSION "2021-12-02"

struct upl_client;
struct upl_budget;

struct upl_client_options {
        struct upl_endpoint endpoint;      /* copied */
        struct upl_credential *credential; /* borrowed */
        struct upl_http *http;             /* taken over, also when upl_client_new() fails */
        struct upl_retry_policy retry;     /* all zero: the default */
        unsigned min_in_flight;            /* 0: 1 */
        unsigned start_in_flight;          /* 0: 8 */
        unsigned max_in_flight;            /* 0: 64 */
        struct upl_budget *waits;          /* told what calls wait for; may be NULL; borrowed */
};

/* Returns 0, -EINVAL, -ENOMEM, -errno of pthread_create(3). */
int upl_client_new(const struct upl_client_options *options, struct upl_client **ret_client)
        _must_check_;
/* Ends calls under way, and all that come later, with -ECANCELED (`done` is called of those that
 * were started). Not from the client's own thread; one thread may call it while others wait for
 * calls. */
void upl_client_stop(struct upl_client *c);
/* Stops and frees. No other thread may use the client any more. */
struct upl_client *upl_client_free(struct upl_client *c);
DEFINE_CLEANUP(upl_client_free, struct upl_client *);

#define UPL_ERROR_CODE_MAX 64

struct upl_call {
        struct upl_request request;
        /* Called on the client's thread at the end; must not block. The call may be freed in it. */
        void (*done)(struct upl_call *call);
        void *userdata;

        /* the end */
        int result; /* 0, or as upl_failure_errno() says; -ECANCELED when the client went */
        enum upl_failure failure;
        unsigned status;
        char code[UPL_ERROR_CODE_MAX]; /* the service's error code, "" = none */
        const struct upl_headers *answer;
        const struct bth_buf *content;
        unsigned attempts;
        bool sent_before; /* an attempt ended without an answer: it may have had its effect */

        struct upl_attempt *attempt; /* the client's own */
};

/* Gives the call to the client, which owns it until `done`. Returns 0 or -ENOMEM, -ECANCELED: then
 * `done` is not called. */
int upl_client_start(struct upl_client *c, struct upl_call *call) _must_check_;

/* Many at once, which wakes the client once. Returns how many were started, from the front: of the
 * others `attempt` is NULL and `done` is not called. */
size_t upl_client_start_many(struct upl_client *c, struct upl_call *const *calls, size_t n)
        _must_check_;

/* Starts the call and waits for its end; `done` is not used. Not from the client's own thread.
 * Returns `call->result`, -ENOMEM. `error` gets the sentence. Blocks. */
int upl_client_call(struct upl_client *c, struct upl_call *call, struct bth_error *error)
        _must_check_;

/* A streamed body has bytes again. Any thread, while the call is known to be under way. */
void upl_client_resume(struct upl_client *c, struct upl_call *call);

/* Something outside changed (a new credential, a new cap): look again now. Any thread. */
void upl_client_kick(struct upl_client *c);

/* Drops request and answer. The call must not be under way. */
void upl_call_clear(struct upl_call *call);
static inline void upl_call_clearp(struct upl_call *call)
{
        upl_call_clear(call);
}
#define _cleanup_call_ _cleanup_(upl_call_clearp)

/* The sentence for a failed call. Returns call->result. */
int upl_call_explain(const struct upl_call *call, struct bth_error *error);

struct upl_client_state {
        uint64_t requests;       /* attempts that ended */
        uint64_t retries;        /* attempts that were repeated */
        uint64_t throttled;      /* answers that asked for less */
        uint64_t refused;        /* credentials refused */
        uint64_t sent_bytes;     /* bodies, all attempts, also those under way */
        uint64_t accepted_bytes; /* bodies of attempts that worked */
        /* Since when the credential is refused, by the monotonic clock; 0: it is not. */
        uint64_t refused_since_usec;
        unsigned in_flight;
        unsigned limit;
        unsigned queued;              /* wait for the limit */
        unsigned waiting_retry;       /* wait for their time */
        unsigned waiting_credentials; /* wait for a credential */
};
void upl_client_look(struct upl_client *c, struct upl_client_state *ret_state);
