/* SPDX-License-Identifier: GPL-3.0-or-later */
/* unlock - from a credential to the volume key.
 *
 * libcryptsetup recovers the key where it can; it is given a sparse memfd with the volume's first
 * sector and its intact metadata copy, so it needs neither the drive's path nor any right on it
 * (under a sandbox it needs /proc/self/fd and a readable /dev/urandom). What its version in Debian
 * 12 cannot do is done by our own small unwrap, which also checks what libcryptsetup does not: the
 * hash that authenticates the metadata. The reason of a failure is always our own finding, never
 * libcryptsetup's errno. Source: BitLocker specification 5, 15. Blocks for some tenths of a second.
 * Any thread. */
#pragma once

#include "base/secret.h"
#include "crypto/metadata.h"

enum cry_credential_kind {
        CRY_CREDENTIAL_NONE,              /* for suspended volumes */
        CRY_CREDENTIAL_RECOVERY_PASSWORD, /* "122221-244442-…", eight groups */
        CRY_CREDENTIAL_EXTERNAL_KEY,      /* a .BEK file's bytes, base64 of 32 bytes, or 32 bytes */
        CRY_CREDENTIAL_PASSWORD,          /* UTF-8 */
        _CRY_CREDENTIAL_MAX,
        _CRY_CREDENTIAL_INVALID = -EINVAL,
};
const char *cry_credential_kind_to_string(enum cry_credential_kind kind);

struct cry_credential {
        enum cry_credential_kind kind;
        const struct bth_secret *secret; /* borrowed; NULL for none */
};

/* What a journal calls a key: numerical, or base64. Returns RECOVERY_PASSWORD or EXTERNAL_KEY. */
enum cry_credential_kind cry_credential_kind_of_journal_key(const struct bth_secret *key);

/* An external key in any of its forms as the base64 text that journals have. Returns 0, -EINVAL
 * with BTH_REASON_KEY_MALFORMED, -ENOMEM. */
int cry_external_key_text(const struct bth_secret *key, struct bth_secret **ret_text,
                          struct bth_error *error) _must_check_;

struct cry_unlocked {
        enum cry_method method; /* of the key; may differ from what the metadata says */
        struct bth_secret *key; /* cry_method_key_bytes() bytes */
        const struct cry_protector *protector; /* that fitted; of the metadata */
        bool by_libcryptsetup;                 /* libcryptsetup gave the same key */
};
void cry_unlocked_clear(struct cry_unlocked *u);

/* Finds the protector that the credential fits.
 * Returns 0; -EINVAL with BTH_REASON_KEY_MALFORMED (a recovery password: which group); -ENOENT with
 * BTH_REASON_NO_SUCH_PROTECTOR; -EKEYREJECTED with BTH_REASON_WRONG_KEY; -EBADMSG with
 * BTH_REASON_BITLOCKER_DAMAGED when the hash of the metadata is wrong or a datum is; -ENOTSUP for
 * an unknown cipher; -EIO when libcrypto fails; -ENOMEM. */
int cry_unlock(const struct cry_metadata *m, const struct cry_credential *credential,
               struct cry_unlocked *ret_unlocked, struct bth_error *error) _must_check_;

/* Reads the metadata of a volume and unlocks it. A copy whose checksum is right and whose hash is
 * wrong is passed over like a damaged one, which cry_metadata_read() alone cannot know: the next
 * copy is used, and the warning CRY_WARNING_COPY_DAMAGED is set.
 * Returns 0, or the errors of cry_metadata_read() and cry_unlock() for the first copy that was
 * tried. */
int cry_unlock_volume(struct bth_source *volume, const struct cry_credential *credential,
                      struct cry_metadata **ret_metadata, struct cry_unlocked *ret_unlocked,
                      struct bth_error *error) _must_check_;
