/* SPDX-License-Identifier: GPL-3.0-or-later */
/* retry - see retry.h. */
#include "uploader/retry.h"

#include <string.h>

#include "base/str.h"
#include "base/time.h"

#define DOUBLINGS_MAX 20u

const char *upl_failure_to_string(enum upl_failure f)
{
        static const char *const names[_UPL_FAILURE_MAX] = {
                [UPL_FAILURE_NONE] = "none",
                [UPL_FAILURE_PERMANENT] = "permanent",
                [UPL_FAILURE_TRANSIENT] = "transient",
                [UPL_FAILURE_THROTTLED] = "throttled",
                [UPL_FAILURE_CREDENTIALS] = "credentials",
        };

        return f >= 0 && f < _UPL_FAILURE_MAX ? names[f] : NULL;
}

/* What the service's codes mean, where the status alone does not tell. */
static const struct {
        const char *code;
        enum upl_failure failure;
        int error;
} codes[] = {
        /* The body was damaged on its way: our own hash fitted before it was sent. */
        { "Md5Mismatch", UPL_FAILURE_TRANSIENT, -EBADMSG },
        { "Crc64Mismatch", UPL_FAILURE_TRANSIENT, -EBADMSG },
        { "RequestBodyIncomplete", UPL_FAILURE_TRANSIENT, -EPROTO },
        { "ServerBusy", UPL_FAILURE_THROTTLED, -EAGAIN },
        { "OperationTimedOut", UPL_FAILURE_THROTTLED, -ETIMEDOUT },
        { "InternalError", UPL_FAILURE_TRANSIENT, -EIO },
        /* The date of the request was too old, or the token was: both heal with a new one. */
        { "AuthenticationFailed", UPL_FAILURE_CREDENTIALS, -EACCES },
        { "InvalidAuthenticationInfo", UPL_FAILURE_CREDENTIALS, -EACCES },
        { "NoAuthenticationInformation", UPL_FAILURE_CREDENTIALS, -EACCES },
        { "ContainerBeingDeleted", UPL_FAILURE_TRANSIENT, -EBUSY },
        { "BlobAlreadyExists", UPL_FAILURE_PERMANENT, -EEXIST },
        { "ContainerAlreadyExists", UPL_FAILURE_PERMANENT, -EEXIST },
        { "ConditionNotMet", UPL_FAILURE_PERMANENT, -ESTALE },
        { "TargetConditionNotMet", UPL_FAILURE_PERMANENT, -ESTALE },
        { "LeaseIdMissing", UPL_FAILURE_PERMANENT, -EBUSY },
        { "LeaseAlreadyPresent", UPL_FAILURE_PERMANENT, -EBUSY },
        { "LeaseIdMismatchWithBlobOperation", UPL_FAILURE_PERMANENT, -EBUSY },
        { "LeaseIdMismatchWithLeaseOperation", UPL_FAILURE_PERMANENT, -EBUSY },
        { "LeaseLost", UPL_FAILURE_PERMANENT, -EBUSY },
        { "LeaseNotPresentWithBlobOperation", UPL_FAILURE_PERMANENT, -EBUSY },
        { "LeaseIsBreakingAndCannotBeAcquired", UPL_FAILURE_PERMANENT, -EBUSY },
        { "BlobImmutableDueToPolicy", UPL_FAILURE_PERMANENT, -EROFS },
        { "BlobImmutableDueToLegalHold", UPL_FAILURE_PERMANENT, -EROFS },
        { "BlobArchived", UPL_FAILURE_PERMANENT, -EROFS },
        { "BlobBeingRehydrated", UPL_FAILURE_PERMANENT, -EROFS },
};

static int find_code(const char *code)
{
        for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
                if (strcmp(codes[i].code, code) == 0)
                        return (int)i;
        return -1;
}

static enum upl_failure failure_of_result(int result)
{
        switch (result) {
        case -EINVAL:       /* the URL or an option is wrong */
        case -EKEYREJECTED: /* the certificate is not one we trust */
        case -EMSGSIZE:     /* the answer is longer than any answer we know */
        case -ECANCELED:
        case -ENOMEM:
        case -EIO: /* from our own body or receiver: the disk */
        case -ENODEV:
        case -ENXIO:
        case -ENODATA:
        case -EREMOTEIO:
        case -ENOSPC:
                return UPL_FAILURE_PERMANENT;
        default:
                return UPL_FAILURE_TRANSIENT;
        }
}

enum upl_failure upl_failure_of(int result, unsigned status, const char *code)
{
        int known;

        if (result < 0)
                return failure_of_result(result);
        if (status >= 200 && status < 300)
                return UPL_FAILURE_NONE;
        known = find_code(code);
        if (known >= 0)
                return codes[known].failure;
        switch (status) {
        case 401:
                return UPL_FAILURE_CREDENTIALS;
        case 408:
        case 500:
        case 502:
        case 504:
                return UPL_FAILURE_TRANSIENT;
        case 429:
        case 503:
                return UPL_FAILURE_THROTTLED;
        default:
                return UPL_FAILURE_PERMANENT;
        }
}

int upl_failure_errno(int result, unsigned status, const char *code)
{
        int known;

        if (result < 0)
                return result;
        if (status >= 200 && status < 300)
                return 0;
        known = find_code(code);
        if (known >= 0)
                return codes[known].error;
        switch (status) {
        case 401:
        case 403:
                return -EACCES;
        case 404:
                return -ENOENT;
        case 304:
        case 412:
                return -ESTALE;
        case 413:
                return -EFBIG;
        case 408:
        case 504:
                return -ETIMEDOUT;
        case 429:
        case 503:
                return -EAGAIN;
        case 500:
        case 502:
                return -EIO;
        default:
                return -EPROTO;
        }
}

bool upl_retry_next(struct upl_retry *r, const struct upl_retry_policy *policy,
                    enum upl_failure failure, uint64_t retry_after_usec, uint64_t now_usec,
                    uint64_t random, uint64_t *ret_wait_usec)
{
        uint64_t longest, wait, after = MIN(retry_after_usec, UPL_RETRY_AFTER_MAX_USEC);

        if (failure == UPL_FAILURE_NONE || failure == UPL_FAILURE_PERMANENT)
                return false;
        if (r->failures < DOUBLINGS_MAX)
                r->failures++;
        longest = MIN(policy->first_usec << (r->failures - 1), policy->longest_usec);
        wait = MAX(longest > 0 ? random % (longest + 1) : 0, after);
        if (failure == UPL_FAILURE_CREDENTIALS && r->failures > 1 &&
            policy->credentials_usec == UPL_RETRY_CREDENTIALS_NEVER)
                return false;
        if (failure == UPL_FAILURE_CREDENTIALS) {
                /* Once more at once, since the date or the token may just have passed; then wait.
                 */
                r->started_usec = 0;
                *ret_wait_usec = r->failures <= 1 ? wait : policy->credentials_usec;
                return true;
        }
        if (r->started_usec == 0)
                r->started_usec = now_usec;
        if (now_usec - r->started_usec + wait > policy->total_usec)
                return false;
        *ret_wait_usec = wait;
        return true;
}

uint64_t upl_retry_after_usec(const char *value, uint64_t realtime_usec)
{
        uint64_t seconds, date;

        if (!value)
                return 0;
        if (bth_parse_u64(value, &seconds) == 0)
                return MIN(seconds, UPL_RETRY_AFTER_MAX_USEC / BTH_USEC_PER_SEC) * BTH_USEC_PER_SEC;
        date = bth_time_from_http(value);
        return date > realtime_usec ? MIN(date - realtime_usec, UPL_RETRY_AFTER_MAX_USEC) : 0;
}
