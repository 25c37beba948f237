/* SPDX-License-Identifier: GPL-3.0-or-later */
/* unlock - credential -> 32-byte key -> volume master key -> hash of the metadata -> volume key. */
#include <string.h>

#include "base/digest.h"
#include "base/log.h"
#include "base/str.h"
#include "crypto/cryptsetup.h"
#include "crypto/unlock.h"
#include "crypto/unwrap.h"

#define BEK_MIN_BYTES 156
#define BEK_MAX_BYTES 4096

const char *cry_credential_kind_to_string(enum cry_credential_kind kind)
{
        static const char *const names[] = { "none", "recovery-password", "external-key",
                                             "password" };

        return (size_t)kind < ARRAY_SIZE(names) ? names[kind] : NULL;
}

enum cry_credential_kind cry_credential_kind_of_journal_key(const struct bth_secret *key)
{
        return key->length_bytes == 55 && key->data[6] == '-' ? CRY_CREDENTIAL_RECOVERY_PASSWORD
                                                              : CRY_CREDENTIAL_EXTERNAL_KEY;
}

void cry_unlocked_clear(struct cry_unlocked *u)
{
        (void)bth_secret_free(u->key);
        *u = (struct cry_unlocked){ 0 };
}

static int damaged(struct bth_error *error, const char *what)
{
        return bth_error_set(error, -EBADMSG, BTH_REASON_BITLOCKER_DAMAGED,
                             "the BitLocker metadata is damaged: %s", what);
}

/* -- credentials
 * ------------------------------------------------------------------------------------- */

/* What a credential comes to before it meets a protector. */
struct prepared {
        unsigned protector_kind;
        bool stretch;
        uint8_t initial[FVE_KEY_BYTES]; /* to be stretched, or the key itself; wiped by the caller
                                         */
};

static int malformed(struct bth_error *error, const char *what, const char *advice)
{
        (void)bth_error_set(error, -EINVAL, BTH_REASON_KEY_MALFORMED, "%s", what);
        bth_error_advise(error, "%s", advice);
        return -EINVAL;
}

static int prepare_recovery(const struct bth_secret *s, struct prepared *p, struct bth_error *error)
{
        uint8_t binary[16];
        unsigned group;
        int r = cry_recovery_parse(s, binary, &group);

        if (r < 0 && group > 0) {
                (void)bth_error_set(error, -EINVAL, BTH_REASON_KEY_MALFORMED,
                                    "group %u of the recovery password is not a valid group",
                                    group);
                bth_error_advise(error, "compare it with the journal or the printed key");
                return -EINVAL;
        }
        if (r < 0)
                return malformed(error,
                                 "the recovery password does not have eight groups of six digits",
                                 "compare it with the journal or the printed key");
        r = bth_digest_of(BTH_DIGEST_SHA256, binary, sizeof binary, p->initial);
        bth_wipe(binary, sizeof binary);
        p->protector_kind = CRY_PROTECTOR_RECOVERY_PASSWORD;
        p->stretch = true;
        return r < 0 ? -EIO : 0;
}

static int prepare_password(const struct bth_secret *s, struct prepared *p, struct bth_error *error)
{
        int r = cry_password_initial(s, p->initial);

        p->protector_kind = CRY_PROTECTOR_PASSWORD;
        p->stretch = true;
        if (r == -EILSEQ)
                return malformed(error, "the password is not UTF-8 text", "save it as UTF-8");
        if (r == -EKEYREJECTED)
                return malformed(error, "the password is longer than 256 characters",
                                 "give the password that was set in Windows");
        return r;
}

/* The key inside a .BEK file (specification 5.2). Returns 0 or -EBADMSG. */
static int key_of_bek(const uint8_t *data, size_t n, uint8_t ret_key[FVE_KEY_BYTES])
{
        const struct fve_dataset_header *h = (const struct fve_dataset_header *)(const void *)data;
        const uint8_t *at, *end;
        struct fve_datum external, nested;

        if (n < BEK_MIN_BYTES || n > BEK_MAX_BYTES || le32_get(h->size) > n ||
            le32_get(h->size) < sizeof *h || le32_get(h->header_size) != sizeof *h)
                return -EBADMSG;
        at = data + sizeof *h;
        end = data + le32_get(h->size);
        while (fve_next_datum(&at, end, &external) > 0) {
                if (external.type != FVE_TYPE_EXTERNAL || external.n < 24)
                        continue;
                const uint8_t *inner = external.body + 24, *inner_end = external.body + external.n;

                while (fve_next_datum(&inner, inner_end, &nested) > 0)
                        if (nested.type == FVE_TYPE_KEY && nested.n == 4 + FVE_KEY_BYTES) {
                                memcpy(ret_key, nested.body + 4, FVE_KEY_BYTES);
                                return 0;
                        }
        }
        return -EBADMSG;
}

static int prepare_external(const struct bth_secret *s, struct prepared *p, struct bth_error *error)
{
        uint8_t decoded[48];
        size_t n = 0;
        int r = -EBADMSG;

        p->protector_kind = CRY_PROTECTOR_EXTERNAL_KEY;
        if (s->length_bytes == FVE_KEY_BYTES) {
                memcpy(p->initial, s->data, FVE_KEY_BYTES);
                return 0;
        }
        if (s->length_bytes == BTH_BASE64_LENGTH(FVE_KEY_BYTES) &&
            bth_base64_decode((const char *)s->data, s->length_bytes, decoded, &n) == 0 &&
            n == FVE_KEY_BYTES) {
                memcpy(p->initial, decoded, FVE_KEY_BYTES);
                r = 0;
        } else {
                r = key_of_bek(s->data, s->length_bytes, p->initial);
        }
        bth_wipe(decoded, sizeof decoded);
        return r == 0 ? 0
                      : malformed(error,
                                  "the external key is neither a .BEK file nor base64 of 32 bytes",
                                  "give the .BEK file as Windows wrote it, or the key of the "
                                  "journal");
}

int cry_external_key_text(const struct bth_secret *key, struct bth_secret **ret_text,
                          struct bth_error *error)
{
        struct prepared p = { 0 };
        int r = prepare_external(key, &p, error);

        if (r == 0)
                r = bth_secret_new(BTH_BASE64_LENGTH(FVE_KEY_BYTES), ret_text);
        if (r == 0)
                bth_base64_encode(p.initial, FVE_KEY_BYTES, (char *)(*ret_text)->data);
        bth_wipe(&p, sizeof p);
        return r;
}

static int prepare(const struct cry_credential *c, struct prepared *p, struct bth_error *error)
{
        switch (c->kind) {
        case CRY_CREDENTIAL_NONE:
                p->protector_kind = CRY_PROTECTOR_CLEAR_KEY;
                return 0;
        case CRY_CREDENTIAL_RECOVERY_PASSWORD:
                return prepare_recovery(c->secret, p, error);
        case CRY_CREDENTIAL_EXTERNAL_KEY:
                return prepare_external(c->secret, p, error);
        case CRY_CREDENTIAL_PASSWORD:
                return prepare_password(c->secret, p, error);
        default:
                return -EINVAL;
        }
}

/* -- protectors
 * -------------------------------------------------------------------------------------- */

/* The key that unwraps this protector's master key. Returns 0, -EBADMSG, -EIO. */
static int protector_key(const struct cry_metadata *m, const struct cry_protector *protector,
                         const struct prepared *p, uint8_t ret_key[FVE_KEY_BYTES])
{
        const uint8_t *at = m->block + protector->body_offset, *end = at + protector->body_bytes;
        struct fve_datum d;

        if (p->protector_kind == CRY_PROTECTOR_EXTERNAL_KEY) {
                memcpy(ret_key, p->initial, FVE_KEY_BYTES);
                return 0;
        }
        while (fve_next_datum(&at, end, &d) > 0) {
                if (p->stretch && d.type == FVE_TYPE_STRETCH && d.n >= FVE_STRETCH_HEADER_BYTES)
                        return cry_stretch(p->initial, d.body + 4, ret_key);
                if (!p->stretch && d.type == FVE_TYPE_KEY && d.n == 4 + FVE_KEY_BYTES &&
                    bth_load_le16(d.body) == FVE_KIND_CLEAR) {
                        memcpy(ret_key, d.body + 4, FVE_KEY_BYTES);
                        return 0;
                }
        }
        return -EBADMSG;
}

static int try_protector(const struct cry_metadata *m, const struct cry_protector *protector,
                         const struct prepared *p, struct bth_secret **ret_vmk)
{
        const uint8_t *at = m->block + protector->body_offset, *end = at + protector->body_bytes;
        uint8_t key[FVE_KEY_BYTES];
        struct fve_datum d;
        uint16_t kind;
        int r = protector_key(m, protector, p, key);

        if (r < 0)
                return r;
        r = -EBADMSG;
        while (fve_next_datum(&at, end, &d) > 0) {
                _cleanup_(bth_secret_freep) struct bth_secret *vmk = NULL;

                if (d.type != FVE_TYPE_WRAPPED)
                        continue;
                r = cry_unwrap_key(key, d.body, d.n, &kind, &vmk);
                if (r == 0 && (kind != FVE_KIND_VMK || vmk->length_bytes != FVE_KEY_BYTES))
                        r = -EBADMSG;
                if (r == 0)
                        *ret_vmk = take_ptr(vmk);
                break;
        }
        bth_wipe(key, sizeof key);
        return r;
}

/* -- behind the master key
 * --------------------------------------------------------------------------- */

/* The only proof that places, sizes and states are what Windows wrote (specification 3.6). */
static int check_hash(const struct cry_metadata *m, const struct bth_secret *vmk,
                      struct bth_error *error)
{
        _cleanup_(bth_secret_freep) struct bth_secret *stored = NULL;
        const uint8_t *at = m->block + m->covered_bytes + sizeof(struct fve_validation);
        const uint8_t *end = m->block + CRY_FVE_REGION_BYTES;
        uint8_t hash[BTH_SHA256_BYTES];
        struct fve_datum d;
        uint16_t kind;
        int r;

        if (fve_next_datum(&at, end, &d) <= 0 || d.type != FVE_TYPE_WRAPPED)
                return damaged(error, "its hash is missing");
        r = cry_unwrap_key(vmk->data, d.body, d.n, &kind, &stored);
        if (r == -EIO || r == -ENOMEM)
                return r;
        if (r < 0 || kind != FVE_KIND_SHA256 || stored->length_bytes != sizeof hash)
                return damaged(error, "its hash cannot be read");
        if (bth_digest_of(BTH_DIGEST_SHA256, m->block, m->covered_bytes, hash) < 0)
                return -EIO;
        return memcmp(hash, stored->data, sizeof hash) == 0 ? 0
                                                            : damaged(error, "its hash is wrong");
}

static int find_fvek(const struct cry_metadata *m, const struct bth_secret *vmk,
                     struct cry_unlocked *u, struct bth_error *error)
{
        const struct fve_dataset_header *h =
                (const struct fve_dataset_header *)(const void *)(m->block +
                                                                  sizeof(struct fve_block_header));
        const uint8_t *at = (const uint8_t *)(h + 1), *end = (const uint8_t *)h + le32_get(h->size);
        struct fve_datum d;
        uint16_t kind;
        int r = -EBADMSG;

        while (fve_next_datum(&at, end, &d) > 0)
                if (d.role == FVE_ROLE_FVEK && d.type == FVE_TYPE_WRAPPED) {
                        r = cry_unwrap_key(vmk->data, d.body, d.n, &kind, &u->key);
                        break;
                }
        if (r == -EIO || r == -ENOMEM)
                return r;
        if (r < 0)
                return damaged(error, "the volume key cannot be read");
        u->method = (enum cry_method)kind;
        if (!cry_method_to_string(u->method))
                return bth_error_set(error, -ENOTSUP, BTH_REASON_BITLOCKER_UNSUPPORTED,
                                     "the volume's cipher 0x%04x is not known", kind);
        return u->key->length_bytes == cry_method_key_bytes(u->method)
                       ? 0
                       : damaged(error, "the volume key has an impossible length");
}

/* Would libcryptsetup of Debian 12 take this credential? */
static bool fit_for_cryptsetup(const struct cry_credential *c)
{
        if (c->kind == CRY_CREDENTIAL_NONE)
                return false;
        if (c->kind == CRY_CREDENTIAL_EXTERNAL_KEY)
                return c->secret->length_bytes >= BEK_MIN_BYTES;
        for (size_t i = 0; i < c->secret->length_bytes; i++)
                if (c->secret->data[i] >= 0x80)
                        return false;
        return true;
}

/* For AES-CBC-128 with diffuser libcryptsetup gives the AES and the tweak key without the filler
 * between. */
static bool same_key(const struct bth_secret *ours, const struct bth_secret *theirs)
{
        if (ours->length_bytes == 64 && theirs->length_bytes == 32)
                return memcmp(ours->data, theirs->data, 16) == 0 &&
                       memcmp(ours->data + 32, theirs->data + 16, 16) == 0;
        return bth_secret_equal(ours, theirs);
}

/* libcryptsetup's word on the key: it must be the same one. What it cannot do is ours alone. */
static int confirm(const struct cry_metadata *m, const struct cry_credential *c,
                   struct cry_unlocked *u, struct bth_error *error)
{
        _cleanup_(bth_secret_freep) struct bth_secret *theirs = NULL;
        int r;

        if (!fit_for_cryptsetup(c))
                return 0;
        r = cry_cryptsetup_key(m, c->secret, &theirs);
        if (r < 0) {
                bth_debug("libcryptsetup gives no key (%s), ignoring", bth_strerror(r));
                return 0;
        }
        if (!same_key(u->key, theirs))
                return bth_error_set(error, -EBADMSG, BTH_REASON_INTERNAL,
                                     "libcryptsetup found another volume key than our own unwrap");
        u->by_libcryptsetup = true;
        return 0;
}

/* -- the whole
 * --------------------------------------------------------------------------------------- */

static int try_all(const struct cry_metadata *m, const struct prepared *p,
                   struct bth_secret **ret_vmk, const struct cry_protector **ret_protector)
{
        int result = -ENOENT;

        for (size_t i = 0; i < m->n_protectors; i++) {
                int r;

                if (m->protectors[i].kind != p->protector_kind)
                        continue;
                r = try_protector(m, &m->protectors[i], p, ret_vmk);
                if (r == 0) {
                        *ret_protector = &m->protectors[i];
                        return 0;
                }
                if (r == -EIO || r == -ENOMEM)
                        return r;
                /* A wrong key is worth more as a reason than a damaged protector beside it. */
                if (result != -EKEYREJECTED)
                        result = r;
        }
        return result;
}

static const char *kinds_text(const struct cry_metadata *m, char *out, size_t n)
{
        struct bth_buf b = BTH_BUF_INIT;

        for (size_t i = 0; i < m->n_protectors; i++)
                if (bth_buf_add_format(&b, "%s%s", i > 0 ? ", " : "",
                                       cry_protector_kind_to_string(m->protectors[i].kind)) < 0)
                        break;
        bth_escape(b.data ? b.data : "none", b.data ? b.length : 4, out, n);
        bth_buf_clear(&b);
        return out;
}

static int explain(const struct cry_metadata *m, const struct prepared *p, int r,
                   struct bth_error *error)
{
        char kinds[200];

        switch (r) {
        case -ENOENT:
                if (p->protector_kind == CRY_PROTECTOR_CLEAR_KEY) {
                        (void)bth_error_set(error, r, BTH_REASON_NO_SUCH_PROTECTOR,
                                            "no key was given, and the volume is not suspended (it "
                                            "has: %s)",
                                            kinds_text(m, kinds, sizeof kinds));
                        bth_error_advise(error,
                                         "give its recovery password, external key or password");
                        return r;
                }
                return bth_error_set(error, r, BTH_REASON_NO_SUCH_PROTECTOR,
                                     "the volume has no protector of the kind %s (it has: %s)",
                                     cry_protector_kind_to_string(p->protector_kind),
                                     kinds_text(m, kinds, sizeof kinds));
        case -EKEYREJECTED:
                return bth_error_set(error, r, BTH_REASON_WRONG_KEY,
                                     "the %s does not fit this volume",
                                     cry_protector_kind_to_string(p->protector_kind));
        case -EBADMSG:
                return damaged(error, "the protector cannot be read");
        default:
                return bth_error_set(error, r, BTH_REASON_INTERNAL, "unlocking failed: %s",
                                     bth_strerror(r));
        }
}

int cry_unlock(const struct cry_metadata *m, const struct cry_credential *credential,
               struct cry_unlocked *ret_unlocked, struct bth_error *error)
{
        _cleanup_(bth_secret_freep) struct bth_secret *vmk = NULL;
        struct cry_unlocked u = { 0 };
        struct prepared p = { 0 };
        int r = prepare(credential, &p, error);

        if (r == 0) {
                r = try_all(m, &p, &vmk, &u.protector);
                /* A suspended volume opens for everybody; the key that was given has no protector.
                 */
                if (r == -ENOENT && (m->warnings & CRY_WARNING_CLEAR_KEY)) {
                        bth_wipe(&p, sizeof p);
                        p.protector_kind = CRY_PROTECTOR_CLEAR_KEY;
                        r = try_all(m, &p, &vmk, &u.protector);
                }
                if (r < 0)
                        r = explain(m, &p, r, error);
        }
        bth_wipe(&p, sizeof p);
        if (r == 0)
                r = check_hash(m, vmk, error);
        if (r == 0)
                r = find_fvek(m, vmk, &u, error);
        if (r == 0)
                r = confirm(m, credential, &u, error);
        if (r < 0) {
                cry_unlocked_clear(&u);
                return r;
        }
        *ret_unlocked = u;
        return 0;
}

int cry_unlock_volume(struct bth_source *volume, const struct cry_credential *credential,
                      struct cry_metadata **ret_metadata, struct cry_unlocked *ret_unlocked,
                      struct bth_error *error)
{
        struct bth_error first = BTH_ERROR_INIT;

        for (unsigned copy = 0; copy < CRY_FVE_COPIES; copy++) {
                _cleanup_(cry_metadata_freep) struct cry_metadata *m = NULL;
                struct bth_error e = error ? *error : BTH_ERROR_INIT; /* keeps where it is */
                int r = cry_metadata_read_from(volume, copy, &m, &e);

                if (r == 0) {
                        copy = m->copy;
                        r = cry_unlock(m, credential, ret_unlocked, &e);
                }
                if (r == 0) {
                        *ret_metadata = take_ptr(m);
                        return 0;
                }
                if (first.code == 0) {
                        first = e;
                        first.code = r;
                }
                if (e.reason != BTH_REASON_BITLOCKER_DAMAGED)
                        break;
        }
        if (error)
                *error = first;
        return first.code;
}
