/* SPDX-License-Identifier: GPL-3.0-or-later */
/* retry - what a failed request means, and when to send it again.
 *
 * A retry is a new request: new date, new signature, body from the start. The wait is drawn from
 * [0, min(longest, first * 2^n)] ("full jitter"), is never shorter than the service's Retry-After,
 * and ends with the total cap. Refused credentials are no failure: the request waits for new ones
 * and looks again now and then. No I/O and no clock in here. Any thread. Source: Status and error
 * codes (REST); Blob service error codes; blob-service specification 0. */
#pragma once

#include "base/macros.h"

enum upl_failure {
        UPL_FAILURE_NONE,        /* it worked */
        UPL_FAILURE_PERMANENT,   /* it will not work by asking again */
        UPL_FAILURE_TRANSIENT,   /* the network or the service stumbled */
        UPL_FAILURE_THROTTLED,   /* the service asks for fewer requests */
        UPL_FAILURE_CREDENTIALS, /* the credential has expired or is refused */
        _UPL_FAILURE_MAX,
        _UPL_FAILURE_INVALID = -EINVAL,
};

/* "transient"; NULL outside the list. */
const char *upl_failure_to_string(enum upl_failure f);

/* The meaning of an exchange: `result` is the transport's negative errno or 0, `status` the HTTP
 * status, `code` the service's error code ("ServerBusy") or "". */
enum upl_failure upl_failure_of(int result, unsigned status, const char *code);

/* What a finished request comes to. Returns 0 for a status of 2xx, else a negative errno:
 *   -EACCES forbidden, -ENOENT no such blob or container, -EEXIST the blob exists, -ESTALE a
 *   condition was not met, -EBUSY a lease is in the way, -EFBIG too large, -EBADMSG the hash the
 *   service computed differs, -EROFS immutable or archived, -EPROTO any other refusal; the
 *   transport's own errno where there was no answer. */
int upl_failure_errno(int result, unsigned status, const char *code);

struct upl_retry_policy {
        uint64_t first_usec;       /* upper end of the first wait */
        uint64_t longest_usec;     /* upper end of any wait, unless Retry-After says more */
        uint64_t total_usec;       /* from the first attempt to the last; then it has failed */
        uint64_t credentials_usec; /* how often to look again without new credentials, or … */
};
/* … for tools that nobody brings new ones: refused twice is refused for good. */
#define UPL_RETRY_CREDENTIALS_NEVER UINT64_MAX
#define UPL_RETRY_POLICY_DEFAULT                                            \
        ((struct upl_retry_policy){ .first_usec = 500 * UINT64_C(1000),     \
                                    .longest_usec = 60 * UINT64_C(1000000), \
                                    .total_usec = 1800 * UINT64_C(1000000), \
                                    .credentials_usec = 30 * UINT64_C(1000000) })
/* Longer orders to wait are cut to this: a server must not stop us for a day. */
#define UPL_RETRY_AFTER_MAX_USEC (600 * UINT64_C(1000000))

struct upl_retry {
        uint64_t started_usec; /* 0 before the first failure */
        unsigned failures;
};

/* A request has failed with `failure` at `now_usec`: when again? `random` is any 64-bit number.
 * Returns true and the wait, or false when it has failed for good. Time spent waiting for
 * credentials does not count against the total. */
bool upl_retry_next(struct upl_retry *r, const struct upl_retry_policy *policy,
                    enum upl_failure failure, uint64_t retry_after_usec, uint64_t now_usec,
                    uint64_t random, uint64_t *ret_wait_usec) _must_check_;

/* A Retry-After header: seconds, or an HTTP date, against `realtime_usec`. NULL or nonsense is 0.
 */
uint64_t upl_retry_after_usec(const char *value, uint64_t realtime_usec);
