/* SPDX-License-Identifier: GPL-3.0-or-later */
/* seal - encrypting along the map of the volume. */
#include <pthread.h>
#include <string.h>

#include "crypto/seal.h"
#include "crypto/view.h"

#define PIECE_BYTES ((size_t)256 << 10)
#define SECTOR_MAX  4096

struct seal {
        struct bth_sink base;
        struct bth_sink *device;
        struct bth_source *readback;
        struct cry_sector_cipher *cipher;
        struct cry_extent *extents;
        size_t n_extents;
        uint32_t sector_bytes;
        pthread_mutex_t lock; /* of writes to pieces of sectors */
};

/* Whole sectors. */
static int write_sectors(struct seal *s, uint64_t physical, const uint8_t *data, size_t n)
{
        _cleanup_free_ uint8_t *piece = bth_io_buffer_new(MIN(n, PIECE_BYTES));
        int r = piece ? 0 : -ENOMEM;

        while (r == 0 && n > 0) {
                size_t take = MIN(n, PIECE_BYTES);

                r = cry_sector_encrypt(s->cipher, physical, data, piece, take);
                if (r == 0)
                        r = bth_sink_write(s->device, physical, piece, take);
                physical += take;
                data += take;
                n -= take;
        }
        return r;
}

static int write_inside_sector(struct seal *s, uint64_t physical, const uint8_t *data, size_t n)
{
        _Alignas(SECTOR_MAX) uint8_t sector[SECTOR_MAX];
        const size_t skip = (size_t)(physical & (s->sector_bytes - 1));
        int r;

        if (!s->readback)
                return -EINVAL;
        pthread_mutex_lock(&s->lock);
        r = bth_source_read(s->readback, physical - skip, sector, s->sector_bytes);
        if (r == 0)
                r = cry_sector_decrypt(s->cipher, physical - skip, sector, sector, s->sector_bytes);
        if (r == 0) {
                memcpy(sector + skip, data, n);
                r = write_sectors(s, physical - skip, sector, s->sector_bytes);
        }
        pthread_mutex_unlock(&s->lock);
        return r;
}

/* A piece of one extent: head, whole sectors, tail. */
static int write_encrypted(struct seal *s, uint64_t physical, const uint8_t *data, size_t n)
{
        const uint64_t mask = s->sector_bytes - 1;
        size_t head = MIN((size_t)(-physical & mask), n), whole;
        int r = head > 0 ? write_inside_sector(s, physical, data, head) : 0;

        physical += head;
        data += head;
        n -= head;
        whole = (size_t)(n & ~mask);
        if (r == 0 && whole > 0)
                r = write_sectors(s, physical, data, whole);
        if (r == 0 && n > whole)
                r = write_inside_sector(s, physical + whole, data + whole, n - whole);
        return r;
}

static int seal_write(struct bth_sink *sink, uint64_t offset_bytes, const void *buffer,
                      size_t length_bytes)
{
        struct seal *s = container_of(sink, struct seal, base);
        const uint8_t *data = buffer;
        size_t i = 0;
        int r = 0;

        while (s->extents[i].offset_bytes + s->extents[i].length_bytes <= offset_bytes)
                i++; /* a handful of extents: three copies, the header, what lies between */
        for (; r == 0 && length_bytes > 0; i++) {
                const struct cry_extent *e = &s->extents[i];
                const uint64_t inside = offset_bytes - e->offset_bytes;
                const size_t take = (size_t)MIN((uint64_t)length_bytes, e->length_bytes - inside);

                r = e->kind == CRY_EXTENT_ENCRYPTED
                            ? write_encrypted(s, e->physical_bytes + inside, data, take)
                            : -EROFS;
                data += take;
                offset_bytes += take;
                length_bytes -= take;
        }
        return r;
}

static int seal_flush(struct bth_sink *sink)
{
        return bth_sink_flush(container_of(sink, struct seal, base)->device);
}

static void seal_free(struct bth_sink *sink)
{
        struct seal *s = container_of(sink, struct seal, base);

        (void)cry_sector_cipher_free(s->cipher);
        free(s->extents);
        pthread_mutex_destroy(&s->lock);
        free(s);
}

int cry_seal_new(struct bth_sink *device, struct bth_source *readback, const struct cry_metadata *m,
                 const struct cry_unlocked *unlocked, struct bth_sink **ret_sink,
                 struct bth_error *error)
{
        static const struct bth_sink_ops ops = {
                .write = seal_write,
                .flush = seal_flush,
                .free = seal_free,
        };
        struct seal *s;
        int r;

        if (m->state != CRY_VOLUME_ENCRYPTED || m->volume_bytes > device->size_bytes)
                return bth_error_set(error, -ENOTSUP, BTH_REASON_BITLOCKER_UNSUPPORTED,
                                     "only a volume that is encrypted whole can be written");
        s = calloc(1, sizeof *s);
        if (!s)
                return -ENOMEM;
        pthread_mutex_init(&s->lock, NULL);
        s->base = (struct bth_sink){
                .ops = &ops,
                .size_bytes = m->volume_bytes,
                .logical_block_bytes = MAX(m->sector_bytes, device->logical_block_bytes),
                .memory_align_bytes = 1,
        };
        s->device = device;
        s->readback = readback;
        s->sector_bytes = m->sector_bytes;
        r = cry_sector_cipher_new(unlocked->method, unlocked->key->data,
                                  unlocked->key->length_bytes, m->sector_bytes, &s->cipher);
        if (r == 0)
                r = cry_extents_new(NULL, m, &s->extents, &s->n_extents, error);
        if (r < 0) {
                seal_free(&s->base);
                return r;
        }
        *ret_sink = &s->base;
        return 0;
}
