/* SPDX-License-Identifier: GPL-3.0-or-later */
/* metadata - boot sector, three copies, datums. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/time.h"
#include "base/utf.h"
#include "crypto/fve.h"
#include "crypto/metadata.h"

#define BOOT_BYTES       512
#define STRING_MAX_UNITS 512
#define MAX_DATUMS       1024
#define HEADER_MAX_BYTES (UINT64_C(1) << 30) /* To Go relocates some megabytes */

const struct bth_guid fve_guid_normal = { { 0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e, 0xd8, 0x4a, 0x83,
                                            0x99, 0xf6, 0xa3, 0x39, 0xe3, 0xd0, 0x01 } };
const struct bth_guid fve_guid_eow = { { 0x3b, 0x4d, 0xa8, 0x92, 0x80, 0xdd, 0x0e, 0x4d, 0x9e, 0x4e,
                                         0xb1, 0xe3, 0x28, 0x4e, 0xae, 0xd8 } };

static const struct {
        const char *name, *sentence;
} states[] = {
        { "encrypted", "the whole volume is encrypted" },
        { "used-space-only", "only the space in use is encrypted" },
        { "paused", "encryption or decryption was stopped half way" },
        { "converting", "encryption or decryption was under way" },
        { "decrypted", "the volume was prepared for BitLocker, but its data are plain" },
};

const char *cry_volume_state_to_string(enum cry_volume_state s)
{
        return (size_t)s < ARRAY_SIZE(states) ? states[s].name : NULL;
}

const char *cry_volume_state_sentence(enum cry_volume_state s)
{
        return (size_t)s < ARRAY_SIZE(states) ? states[s].sentence : "";
}

static const struct {
        const char *name, *sentence;
} warnings[] = {
        { "metadata-copy-damaged",
          "a copy of the BitLocker metadata is damaged; another one was used" },
        { "metadata-copies-differ", "the copies of the BitLocker metadata do not say the same" },
        { "volume-truncated",
          "the device is shorter than its volume; what lies behind cannot be read" },
        { "clear-key", "BitLocker was suspended: the key lay on the drive in clear" },
        { "used-space-only", "only used space was encrypted; deleted data may lie there in plain" },
        { "conversion-not-finished", "encryption was not finished; part of the data is plain" },
        { "decrypted", "the data on the volume are not encrypted" },
};

static int bit_index(unsigned bit)
{
        return bit != 0 && (bit & (bit - 1)) == 0 ? __builtin_ctz(bit) : -1;
}

const char *cry_warning_to_string(unsigned bit)
{
        int i = bit_index(bit);

        return i >= 0 && (size_t)i < ARRAY_SIZE(warnings) ? warnings[i].name : NULL;
}

const char *cry_warning_sentence(unsigned bit)
{
        int i = bit_index(bit);

        return i >= 0 && (size_t)i < ARRAY_SIZE(warnings) ? warnings[i].sentence : "";
}

const char *cry_protector_kind_to_string(unsigned kind)
{
        switch (kind) {
        case CRY_PROTECTOR_CLEAR_KEY:
                return "clear-key";
        case CRY_PROTECTOR_TPM:
                return "tpm";
        case CRY_PROTECTOR_EXTERNAL_KEY:
                return "external-key";
        case CRY_PROTECTOR_TPM_PIN:
                return "tpm-pin";
        case CRY_PROTECTOR_RECOVERY_PASSWORD:
                return "recovery-password";
        case CRY_PROTECTOR_SMART_CARD:
                return "smart-card";
        case CRY_PROTECTOR_PASSWORD:
                return "password";
        default:
                return "other";
        }
}

enum bth_drive_status cry_drive_status(const struct bth_error *error)
{
        switch (error->reason) {
        case BTH_REASON_NOT_BITLOCKER:
                return BTH_DRIVE_STATUS_BITLOCKER_NOT_ACTIVATED;
        case BTH_REASON_NO_PARTITION:
                return BTH_DRIVE_STATUS_BITLOCKER_VOLUME_NOT_FOUND;
        case BTH_REASON_NO_SUCH_PROTECTOR:
                return BTH_DRIVE_STATUS_BITLOCKER_PROTECTOR_NOT_FOUND;
        case BTH_REASON_KEY_MALFORMED:
        case BTH_REASON_WRONG_KEY:
                return BTH_DRIVE_STATUS_BITLOCKER_KEY_INVALID;
        case BTH_REASON_CONVERSION_ACTIVE:
                return BTH_DRIVE_STATUS_BITLOCKER_UNLOCK_VOLUME_FAILED;
        case BTH_REASON_DRIVE_GONE:
        case BTH_REASON_DRIVE_READ_ERROR:
                return BTH_DRIVE_STATUS_DISK_OPERATION_FAILED;
        case BTH_REASON_BITLOCKER_DAMAGED:
        case BTH_REASON_BITLOCKER_UNSUPPORTED:
                return BTH_DRIVE_STATUS_BITLOCKER_FAILED;
        default:
                return BTH_DRIVE_STATUS_INTERNAL_ERROR;
        }
}

uint32_t fve_crc32(const void *data, size_t n)
{
        const uint8_t *p = data;
        uint32_t crc = UINT32_MAX;

        /* A nibble at a time: three blocks of 64 KiB a drive are not worth a larger table. */
        static const uint32_t table[16] = {
                0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
        };

        for (size_t i = 0; i < n; i++) {
                crc = table[(crc ^ p[i]) & 15] ^ crc >> 4;
                crc = table[(crc ^ p[i] >> 4) & 15] ^ crc >> 4;
        }
        return ~crc;
}

struct cry_metadata *cry_metadata_free(struct cry_metadata *m)
{
        if (!m)
                return NULL;
        for (size_t i = 0; i < m->n_protectors; i++)
                free(m->protectors[i].description);
        free(m->protectors);
        free(m->description);
        free(m->boot);
        free(m->block);
        free(m);
        return NULL;
}

static int unreadable(struct bth_error *error, int r, uint64_t offset_bytes)
{
        bth_error_at(error, NULL, 0, offset_bytes);
        return bth_error_set(error, r,
                             r == -ENODEV ? BTH_REASON_DRIVE_GONE : BTH_REASON_DRIVE_READ_ERROR,
                             "the drive cannot be read: %s", bth_strerror(r));
}

/* -- the first sector
 * -------------------------------------------------------------------------------- */

/* Finds the record by its GUID, as Windows does; the places are fixed, yet anywhere is accepted. */
const struct fve_boot_record *fve_find_record(const uint8_t *boot, bool *ret_eow)
{
        for (size_t at = 0; at + sizeof(struct fve_boot_record) <= BOOT_BYTES; at++) {
                const struct fve_boot_record *r =
                        (const struct fve_boot_record *)(const void *)(boot + at);

                *ret_eow = bth_guid_equal(&r->kind, &fve_guid_eow);
                if (*ret_eow || bth_guid_equal(&r->kind, &fve_guid_normal))
                        return r;
        }
        return NULL;
}

static int read_boot(struct cry_metadata *m, struct bth_source *volume,
                     uint64_t copies[CRY_FVE_COPIES], struct bth_error *error)
{
        const struct fve_boot_record *record;
        int r;

        if (volume->size_bytes < BOOT_BYTES)
                return bth_error_set(error, -EMEDIUMTYPE, BTH_REASON_NOT_BITLOCKER,
                                     "the volume is too small for BitLocker");
        r = bth_source_read(volume, 0, m->boot, BOOT_BYTES);
        if (r < 0)
                return unreadable(error, r, 0);
        record = fve_find_record(m->boot, &m->eow);
        if (!record) {
                if (memcmp(m->boot + 3, FVE_SIGNATURE, FVE_SIGNATURE_BYTES) == 0)
                        return bth_error_set(
                                error, -ENOTSUP, BTH_REASON_BITLOCKER_UNSUPPORTED,
                                "the volume was encrypted by Windows Vista, whose form "
                                "of BitLocker is not supported");
                return bth_error_set(error, -EMEDIUMTYPE, BTH_REASON_NOT_BITLOCKER,
                                     "the volume is not encrypted with BitLocker");
        }
        m->to_go = (const uint8_t *)record == m->boot + FVE_BOOT_RECORD_OFFSET_TOGO;
        m->sector_bytes = bth_load_le16(m->boot + 0x0b);
        if (m->sector_bytes == 0)
                m->sector_bytes = 512;
        if (m->sector_bytes != 512 && m->sector_bytes != 4096)
                return bth_error_set(error, -EBADMSG, BTH_REASON_BITLOCKER_DAMAGED,
                                     "the volume's sector size of %u bytes is not possible",
                                     m->sector_bytes);
        for (size_t i = 0; i < CRY_FVE_COPIES; i++)
                copies[i] = le64_get(record->copies[i]);
        for (size_t i = 0; m->eow && i < 2; i++)
                m->eow_copies[i] = le64_get(record->eow_copies[i]);
        return 0;
}

/* -- copies
 * ------------------------------------------------------------------------------------------ */

/* Why a copy is not intact, or NULL. Sets its covered length. */
static const char *fault_of_copy(const uint8_t *block, uint64_t offset_bytes, uint32_t sector_bytes,
                                 size_t *ret_covered)
{
        const struct fve_block_header *h = (const struct fve_block_header *)(const void *)block;
        const struct fve_dataset_header *d =
                (const struct fve_dataset_header *)(const void *)(block + sizeof *h);
        const size_t covered = (size_t)le16_get(h->size_div_16) * 16;
        const struct fve_validation *v;
        bool names_itself = false;

        if (memcmp(h->signature, FVE_SIGNATURE, FVE_SIGNATURE_BYTES) != 0)
                return "it has no signature";
        if (le16_get(h->version) != 2)
                return "its version is not 2";
        if (covered < sizeof *h + sizeof *d ||
            covered > CRY_FVE_REGION_BYTES - FVE_VALIDATION_BYTES)
                return "its length is not possible";
        if (le32_get(d->size) < sizeof *d || le32_get(d->size) > covered - sizeof *h ||
            le32_get(d->header_size) != sizeof *d || le32_get(d->end) != le32_get(d->size))
                return "its data set has an impossible length";
        v = (const struct fve_validation *)(const void *)(block + covered);
        if (le16_get(v->version) > 2)
                return "its validation has an unknown version";
        if (le32_get(v->crc32) != fve_crc32(block, covered))
                return "its checksum is wrong";
        for (size_t i = 0; i < CRY_FVE_COPIES; i++)
                names_itself |= le64_get(h->copies[i]) == offset_bytes;
        if (!names_itself)
                return "it does not name its own place";
        *ret_covered = covered;
        return NULL;
}

static const char *read_copy(struct bth_source *volume, uint64_t offset_bytes,
                             uint32_t sector_bytes, uint8_t *block, size_t *ret_covered,
                             int *ret_errno)
{
        if (offset_bytes == 0 || offset_bytes % 512 != 0)
                return "its place is not possible";
        if (!bth_range_inside(offset_bytes, CRY_FVE_REGION_BYTES, volume->size_bytes))
                return "it lies outside the device";
        *ret_errno = bth_source_read(volume, offset_bytes, block, CRY_FVE_REGION_BYTES);
        if (*ret_errno < 0)
                return "it cannot be read";
        return fault_of_copy(block, offset_bytes, sector_bytes, ret_covered);
}

static int choose_copy(struct cry_metadata *m, struct bth_source *volume,
                       const uint64_t places[CRY_FVE_COPIES], unsigned first_copy,
                       struct bth_error *error)
{
        _cleanup_free_ uint8_t *block = bth_io_buffer_new(CRY_FVE_REGION_BYTES);
        char why[3 * 96] = "";
        bool found = false;
        int last_errno = 0;

        if (!block)
                return -ENOMEM;
        for (unsigned i = 0; i < CRY_FVE_COPIES; i++) {
                size_t covered = 0, used = strlen(why);
                const char *fault =
                        read_copy(volume, places[i], m->sector_bytes, block, &covered, &last_errno);

                if (last_errno == -ENODEV)
                        return unreadable(error, last_errno, places[i]);
                if (fault) {
                        m->warnings |= CRY_WARNING_COPY_DAMAGED;
                        (void)snprintf(why + used, sizeof why - used,
                                       "%scopy %u at %" PRIu64 ": %s", used > 0 ? "; " : "", i + 1,
                                       places[i], fault);
                } else if (i < first_copy) {
                        m->warnings |= CRY_WARNING_COPY_DAMAGED;
                } else if (!found) {
                        found = true;
                        m->copy = i;
                        m->covered_bytes = covered;
                        memcpy(m->block, block, CRY_FVE_REGION_BYTES);
                } else if (covered != m->covered_bytes || memcmp(block, m->block, covered) != 0) {
                        m->warnings |= CRY_WARNING_COPIES_DIFFER;
                }
        }
        if (found)
                return 0;
        bth_error_at(error, NULL, 0, places[0]);
        return bth_error_set(error, -EBADMSG, BTH_REASON_BITLOCKER_DAMAGED,
                             "no copy of the BitLocker metadata is intact (%s)", why);
}

/* -- the chosen copy
 * --------------------------------------------------------------------------------- */

static int damaged(struct bth_error *error, const char *what)
{
        return bth_error_set(error, -EBADMSG, BTH_REASON_BITLOCKER_DAMAGED,
                             "the BitLocker metadata is damaged: %s", what);
}

/* Text of a STRING datum: UTF-16LE, ended by NUL. */
static char *string_of(const struct fve_datum *d)
{
        size_t units = MIN(d->n / 2, (size_t)STRING_MAX_UNITS);
        char *text = malloc(BTH_UTF8_MAX_FROM_UTF16(STRING_MAX_UNITS));

        while (units > 0 && bth_load_le16(d->body + 2 * (units - 1)) == 0)
                units--;
        if (text)
                (void)bth_utf16_to_utf8(d->body, units, text);
        return text;
}

static int take_protector(struct cry_metadata *m, const struct fve_datum *d,
                          struct bth_error *error)
{
        struct cry_protector p = { 0 }, *grown;
        const uint8_t *at, *end = d->body + d->n;
        struct fve_datum nested;
        int r;

        if (d->n < FVE_VMK_HEADER_BYTES)
                return damaged(error, "a protector is too short");
        if (m->n_protectors == CRY_MAX_PROTECTORS)
                return damaged(error, "it has more than 64 protectors");
        memcpy(p.id.b, d->body, 16);
        p.modified_usec = bth_filetime_to_usec(bth_load_le64(d->body + 16));
        p.kind = bth_load_le16(d->body + 26);
        at = d->body + FVE_VMK_HEADER_BYTES;
        p.body_offset = (size_t)(at - m->block);
        p.body_bytes = (size_t)(end - at);
        while ((r = fve_next_datum(&at, end, &nested)) > 0)
                if (nested.type == FVE_TYPE_STRING && !p.description) {
                        p.description = string_of(&nested);
                        if (!p.description)
                                return -ENOMEM;
                }
        grown = r < 0 ? NULL : reallocarray(m->protectors, m->n_protectors + 1, sizeof *grown);
        if (!grown) {
                free(p.description);
                return r < 0 ? damaged(error, "a datum of a protector has an impossible length")
                             : -ENOMEM;
        }
        m->protectors = grown;
        m->protectors[m->n_protectors++] = p;
        if (p.kind == CRY_PROTECTOR_CLEAR_KEY)
                m->warnings |= CRY_WARNING_CLEAR_KEY;
        return 0;
}

/* Is there a place for the conversion log (3.5)? */
static bool has_log(const struct fve_datum *relocated)
{
        const uint8_t *extension = relocated->body + 16;

        return relocated->n >= 16 + 28 &&
               (bth_load_le64(extension + 16) != 0 || bth_load_le32(extension + 24) != 0);
}

static int walk_datums(struct cry_metadata *m, bool *ret_log, struct bth_error *error)
{
        const struct fve_dataset_header *d =
                (const struct fve_dataset_header *)(const void *)(m->block +
                                                                  sizeof(struct fve_block_header));
        const uint8_t *at = (const uint8_t *)(d + 1), *end = (const uint8_t *)d + le32_get(d->size);
        struct fve_datum datum;
        unsigned n = 0;
        int r;

        while ((r = fve_next_datum(&at, end, &datum)) > 0) {
                if (++n > MAX_DATUMS)
                        return damaged(error, "it has more than 1,024 datums");
                if (datum.role == FVE_ROLE_VMK && datum.type == FVE_TYPE_VMK) {
                        r = take_protector(m, &datum, error);
                        if (r < 0)
                                return r;
                } else if (datum.type == FVE_TYPE_STRING && !m->description) {
                        m->description = string_of(&datum);
                        if (!m->description)
                                return -ENOMEM;
                } else if (datum.type == FVE_TYPE_RELOCATED) {
                        *ret_log |= has_log(&datum);
                }
        }
        return r < 0 ? damaged(error, "a datum has an impossible length") : 0;
}

static int judge_state(struct cry_metadata *m, bool log, struct bth_error *error)
{
        switch (m->current_state) {
        case 1:
                m->state = CRY_VOLUME_DECRYPTED;
                m->warnings |= CRY_WARNING_DECRYPTED;
                break;
        case 4:
                m->state = m->eow ? CRY_VOLUME_USED_SPACE : CRY_VOLUME_ENCRYPTED;
                break;
        case 3:
                m->state = CRY_VOLUME_PAUSED;
                m->warnings |= CRY_WARNING_NOT_FINISHED;
                break;
        case 2:
        case 5:
                m->state = CRY_VOLUME_CONVERTING;
                m->warnings |= CRY_WARNING_NOT_FINISHED;
                break;
        default:
                return damaged(error, "its state is not known");
        }
        if (m->eow)
                m->warnings |= CRY_WARNING_USED_SPACE;
        /* A finished To Go volume keeps its log area; it counts only while data is being moved. */
        if (m->state == CRY_VOLUME_CONVERTING && (log || m->dirty_bytes != 0))
                return bth_error_set(
                        error, -EBUSY, BTH_REASON_CONVERSION_ACTIVE,
                        "encryption of the volume is still in progress, and its log is "
                        "active");
        return 0;
}

/* Places and sizes: everything must lie inside what the volume says it is. */
static int judge_layout(struct cry_metadata *m, struct bth_error *error)
{
        const bool encrypted = m->current_state == 4;

        if (m->watermark_bytes > INT64_MAX)
                return damaged(error, "its encrypted size is not possible");
        m->volume_bytes = m->device_bytes;
        if (encrypted && m->watermark_bytes > m->device_bytes) {
                m->volume_bytes = m->watermark_bytes;
                m->warnings |= CRY_WARNING_TRUNCATED;
        }
        if (m->header_bytes == 0 || m->header_bytes > HEADER_MAX_BYTES ||
            m->header_offset % 512 != 0 || m->header_offset < m->header_bytes ||
            !bth_range_inside(m->header_offset, m->header_bytes, m->volume_bytes))
                return damaged(error, "the place of the relocated header is not possible");
        for (size_t i = 0; i < CRY_FVE_COPIES; i++)
                if (m->copies[i] % 512 != 0 ||
                    !bth_range_inside(m->copies[i], CRY_FVE_REGION_BYTES, m->volume_bytes))
                        return damaged(error, "the place of a metadata copy is not possible");
        return 0;
}

static int read_fields(struct cry_metadata *m, struct bth_error *error)
{
        const struct fve_block_header *h = (const struct fve_block_header *)(const void *)m->block;
        const struct fve_dataset_header *d =
                (const struct fve_dataset_header *)(const void *)(h + 1);
        bool log = false;
        int r;

        m->current_state = le16_get(h->current_state);
        m->next_state = le16_get(h->next_state);
        m->watermark_bytes = le64_get(h->encrypted_size);
        m->dirty_bytes = le32_get(h->dirty_size);
        m->header_offset = le64_get(h->header_offset);
        m->header_bytes = (uint64_t)le32_get(h->header_sectors) * m->sector_bytes;
        for (size_t i = 0; i < CRY_FVE_COPIES; i++)
                m->copies[i] = le64_get(h->copies[i]);
        m->volume_id = d->volume_id;
        m->method = (enum cry_method)le16_get(d->method);
        m->created_usec = bth_filetime_to_usec(le64_get(d->created));
        if (!cry_method_to_string(m->method))
                return bth_error_set(error, -ENOTSUP, BTH_REASON_BITLOCKER_UNSUPPORTED,
                                     "the volume's cipher 0x%04x is not known",
                                     (unsigned)m->method);
        r = judge_layout(m, error);
        if (r == 0)
                r = walk_datums(m, &log, error);
        return r < 0 ? r : judge_state(m, log, error);
}

int cry_metadata_read_from(struct bth_source *volume, unsigned first_copy,
                           struct cry_metadata **ret_metadata, struct bth_error *error)
{
        _cleanup_(cry_metadata_freep) struct cry_metadata *m = calloc(1, sizeof *m);
        uint64_t places[CRY_FVE_COPIES];
        int r;

        if (!m)
                return -ENOMEM;
        m->device_bytes = volume->size_bytes;
        m->boot = bth_io_buffer_new(BOOT_BYTES);
        m->block = bth_io_buffer_new(CRY_FVE_REGION_BYTES);
        if (!m->boot || !m->block)
                return -ENOMEM;
        r = read_boot(m, volume, places, error);
        if (r == 0)
                r = choose_copy(m, volume, places, first_copy, error);
        if (r == 0)
                r = read_fields(m, error);
        if (r == 0)
                *ret_metadata = take_ptr(m);
        return r;
}

int cry_metadata_read(struct bth_source *volume, struct cry_metadata **ret_metadata,
                      struct bth_error *error)
{
        return cry_metadata_read_from(volume, 0, ret_metadata, error);
}
