/* SPDX-License-Identifier: GPL-3.0-or-later */
/* provider - two ways from an unlocked volume to its plain bytes, behind one interface.
 *
 *     userspace   our own view (view.h): no rights, no device-mapper, any state of the volume
 *     dm-crypt    libcryptsetup maps the volume in the kernel, read-only, under a name of our own;
 *                 it needs root, device-mapper, a block device, and a volume that is wholly
 * encrypted
 *
 * A mapping is marked for removal as soon as it is open: the kernel takes it down when the last
 * descriptor goes, be it by free, exit or SIGKILL. Only a crash in the milliseconds between mapping
 * and mark leaves one behind; its name begins with "berth-". */
#pragma once

#include "base/source.h"
#include "crypto/metadata.h"
#include "crypto/unlock.h"

enum cry_provider {
        CRY_PROVIDER_USERSPACE,
        CRY_PROVIDER_DM_CRYPT,
        _CRY_PROVIDER_MAX,
        _CRY_PROVIDER_INVALID = -EINVAL,
};
const char *cry_provider_to_string(enum cry_provider p);      /* "userspace", "dm-crypt" */
enum cry_provider cry_provider_from_string(const char *text); /* _INVALID for others */

/* Can it work here at all? Returns 0, or -ENOTSUP with BTH_REASON_UNSUPPORTED and what is missing.
 */
int cry_provider_check(enum cry_provider p, struct bth_error *error) _must_check_;

/* What a provider opens; all borrowed. */
struct cry_encrypted {
        struct bth_source *volume; /* userspace: must outlive the plain source */
        int volume_fd; /* dm-crypt: block device of the volume itself, not of its disk */
        const struct cry_metadata *metadata;
        const struct cry_unlocked *unlocked;
};

/* Opens the plain volume, read-only. Both providers give the same bytes.
 * Returns 0; the errors of cry_view_new(); for dm-crypt -ENOTSUP with BTH_REASON_UNSUPPORTED when
 * something is missing (what, in the sentence) or the kernel cannot map this volume; -EBUSY;
 * -ENOMEM; -errno of opening the mapping. */
int cry_provider_open(enum cry_provider p, const struct cry_encrypted *encrypted,
                      struct bth_source **ret_plain, struct bth_error *error) _must_check_;
