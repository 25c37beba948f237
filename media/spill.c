/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "media/spill.h"

#include <assert.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

#include "base/guid.h"
#include "base/io.h"
#include "base/le.h"
#include "base/secret.h"

#define PAGE      MED_SPILL_PAGE_BYTES
#define PAGES_MAX (UINT32_MAX - 1)
#define KEY_BYTES 64u

struct page {
        uint8_t *frame; /* NULL: in the file, or all zeros when it is not on disk */
        bool on_disk, changed, used;
        bool lost; /* could not be read back, once and for all */
};

struct med_spill {
        pthread_mutex_t lock; /* of all below, once sealed and when there is a file */
        struct page *page;
        size_t n_pages, pages_allocated;
        uint32_t *resident; /* the pages with frames */
        size_t n_resident, max_resident, hand;
        uint32_t *unused; /* pages given back */
        size_t n_unused, unused_allocated;
        size_t area_bytes; /* tables of the areas */
        char *folder;
        int fd;
        uint64_t file_pages;
        bool sealed;
        uint8_t *scratch; /* a page as it lies in the file */
        struct bth_secret *key;
        EVP_CIPHER *cipher;
        EVP_CIPHER_CTX *context; /* empty between two pages */
};

/* ---- making ---- */

int med_spill_new(size_t max_bytes, const char *folder, int fd, struct med_spill **ret_spill)
{
        _cleanup_(med_spill_freep) struct med_spill *s = calloc(1, sizeof *s);
        int r;

        if (!s) {
                if (fd > 0)
                        (void)bth_close(fd);
                return -ENOMEM;
        }
        s->fd = fd > 0 ? fd : BTH_FD_NONE;
        (void)pthread_mutex_init(&s->lock, NULL);
        s->max_resident = MAX(max_bytes, MED_SPILL_MIN_BYTES) / PAGE;
        s->folder = folder ? strdup(folder) : NULL;
        s->scratch = malloc(PAGE);
        s->cipher = EVP_CIPHER_fetch(NULL, "AES-256-XTS", NULL);
        s->context = EVP_CIPHER_CTX_new();
        if ((folder && !s->folder) || !s->scratch || !s->cipher || !s->context)
                return -ENOMEM;
        r = bth_secret_new(KEY_BYTES, &s->key);
        if (r == 0)
                r = bth_random_bytes(s->key->data, KEY_BYTES);
        if (r < 0)
                return r;
        *ret_spill = take_ptr(s);
        return 0;
}

struct med_spill *med_spill_free(struct med_spill *s)
{
        if (!s)
                return NULL;
        for (size_t i = 0; i < s->n_resident; i++)
                free(s->page[s->resident[i]].frame);
        free(s->page);
        free(s->resident);
        free(s->unused);
        free(s->folder);
        free(s->scratch);
        (void)bth_secret_free(s->key);
        EVP_CIPHER_free(s->cipher);
        EVP_CIPHER_CTX_free(s->context);
        (void)bth_close(s->fd);
        (void)pthread_mutex_destroy(&s->lock);
        free(s);
        return NULL;
}

static int grow(void *array, size_t *allocated, size_t need, size_t each)
{
        size_t want = MAX(need, *allocated + *allocated / 2 + 64);
        void *p;

        if (need <= *allocated)
                return 0;
        p = reallocarray(*(void **)array, want, each);
        if (!p)
                return -ENOMEM;
        *(void **)array = p;
        *allocated = want;
        return 0;
}

/* ---- pages and their file ---- */

static int cipher_page(struct med_spill *s, bool encrypt, uint32_t number, const uint8_t *from,
                       uint8_t *to)
{
        uint8_t tweak[16] = { 0 };
        int n = 0, ok;

        bth_store_le32(tweak, number);
        ok = EVP_CipherInit_ex2(s->context, s->cipher, s->key->data, tweak, encrypt, NULL) == 1 &&
             EVP_CipherUpdate(s->context, to, &n, from, (int)PAGE) == 1 && n == (int)PAGE;
        /* The key's schedule is wiped with the context: it lies in ordinary memory. */
        (void)EVP_CIPHER_CTX_reset(s->context);
        return ok ? 0 : -EIO;
}

static int write_page(struct med_spill *s, uint32_t number)
{
        struct page *p = &s->page[number];
        int r = 0;

        if (!p->changed)
                return 0;
        if (s->fd < 0)
                r = bth_open_unlinked(s->folder, &s->fd);
        if (r == 0)
                r = cipher_page(s, true, number, p->frame, s->scratch);
        if (r == 0)
                r = bth_pwrite_full(s->fd, s->scratch, PAGE, (uint64_t)number * PAGE);
        if (r < 0)
                return r;
        p->on_disk = true;
        p->changed = false;
        s->file_pages = MAX(s->file_pages, (uint64_t)number + 1);
        return 0;
}

/* The frame of the page that was not used for longest, nearly (clock); the page goes to the file.
 * Its slot among the resident ones is `*ret_slot`. */
static int evict(struct med_spill *s, uint8_t **ret_frame, size_t *ret_slot)
{
        struct page *victim;
        int r;

        for (;; s->hand++) {
                s->hand %= s->n_resident;
                victim = &s->page[s->resident[s->hand]];
                if (!victim->used)
                        break;
                victim->used = false;
        }
        r = write_page(s, s->resident[s->hand]);
        if (r < 0)
                return r;
        *ret_frame = victim->frame;
        victim->frame = NULL;
        *ret_slot = s->hand++;
        return 0;
}

static int new_frame(struct med_spill *s, uint8_t **ret_frame, size_t *ret_slot)
{
        if (s->n_resident == s->max_resident)
                return evict(s, ret_frame, ret_slot);
        if (!s->resident) {
                s->resident = reallocarray(NULL, s->max_resident, sizeof *s->resident);
                if (!s->resident)
                        return -ENOMEM;
        }
        *ret_frame = malloc(PAGE);
        if (!*ret_frame)
                return -ENOMEM;
        *ret_slot = s->n_resident++;
        return 0;
}

static int load(struct med_spill *s, uint32_t number, uint8_t *frame)
{
        int r;

        if (!s->page[number].on_disk) {
                memset(frame, 0, PAGE);
                return 0;
        }
        r = bth_pread_full(s->fd, s->scratch, PAGE, (uint64_t)number * PAGE);
        if (r == 0)
                r = cipher_page(s, false, number, s->scratch, frame);
        if (r < 0)
                s->page[number].lost = true;
        return r;
}

/* The page in memory, fetched if need be. */
static int fetch(struct med_spill *s, uint32_t number, uint8_t **ret_frame)
{
        struct page *p = &s->page[number];
        uint8_t *frame;
        size_t slot;
        int r;

        if (!p->frame) {
                r = new_frame(s, &frame, &slot);
                if (r < 0)
                        return r;
                p->frame = frame;
                s->resident[slot] = number;
                r = load(s, number, frame);
                if (r < 0)
                        return r == -ENODATA ? -EIO : r;
        }
        if (p->lost)
                return -EIO;
        p->used = true;
        *ret_frame = p->frame;
        return 0;
}

static int add_page(struct med_spill *s, uint32_t *ret_number)
{
        int r;

        if (s->n_unused) {
                *ret_number = s->unused[--s->n_unused];
                return 0;
        }
        if (s->n_pages >= PAGES_MAX)
                return -EFBIG;
        r = grow(&s->page, &s->pages_allocated, s->n_pages + 1, sizeof *s->page);
        if (r < 0)
                return r;
        s->page[s->n_pages] = (struct page){ 0 };
        *ret_number = (uint32_t)s->n_pages++;
        return 0;
}

/* ---- areas ---- */

static int extend(struct med_spill_area *a, uint64_t size)
{
        uint64_t need = (size + PAGE - 1) / PAGE;

        if (need > PAGES_MAX)
                return -EFBIG;
        while (a->n_pages < need) {
                size_t before = a->allocated;
                int r = grow(&a->page, &a->allocated, a->n_pages + 1, sizeof *a->page);

                a->spill->area_bytes += (a->allocated - before) * sizeof *a->page;
                if (r == 0)
                        r = add_page(a->spill, &a->page[a->n_pages]);
                if (r < 0)
                        return r;
                a->n_pages++;
        }
        a->size_bytes = MAX(a->size_bytes, size);
        return 0;
}

int med_spill_write(struct med_spill_area *a, uint64_t at, const void *from, size_t n)
{
        const uint8_t *p = from;
        uint64_t end;
        int r;

        assert(!a->spill->sealed);
        if (__builtin_add_overflow(at, n, &end) || end > (uint64_t)INT64_MAX)
                return -EFBIG;
        r = extend(a, end);
        while (r == 0 && n) {
                uint32_t number = a->page[at / PAGE];
                size_t k = MIN(n, PAGE - (size_t)(at % PAGE));
                uint8_t *frame;

                r = fetch(a->spill, number, &frame);
                if (r == 0) {
                        memcpy(frame + at % PAGE, p, k);
                        a->spill->page[number].changed = true;
                }
                at += k;
                p += k;
                n -= k;
        }
        return r;
}

static int read_pages(const struct med_spill_area *a, uint64_t at, uint8_t *to, size_t n)
{
        while (n) {
                size_t k = MIN(n, PAGE - (size_t)(at % PAGE));
                uint8_t *frame;
                int r = fetch(a->spill, a->page[at / PAGE], &frame);

                if (r < 0)
                        return r;
                memcpy(to, frame + at % PAGE, k);
                at += k;
                to += k;
                n -= k;
        }
        return 0;
}

/* Without a file every page has its frame, except those that were never written. */
static void copy_resident(const struct med_spill_area *a, uint64_t at, uint8_t *to, size_t n)
{
        while (n) {
                size_t k = MIN(n, PAGE - (size_t)(at % PAGE));
                const uint8_t *frame = a->spill->page[a->page[at / PAGE]].frame;

                if (frame)
                        memcpy(to, frame + at % PAGE, k);
                else
                        memset(to, 0, k);
                at += k;
                to += k;
                n -= k;
        }
}

int med_spill_read(const struct med_spill_area *a, uint64_t at, void *to, size_t n)
{
        struct med_spill *s = a->spill;
        int r;

        assert(at <= a->size_bytes && n <= a->size_bytes - at);
        if (s->file_pages == 0) {
                copy_resident(a, at, to, n);
                return 0;
        }
        if (!s->sealed)
                return read_pages(a, at, to, n);
        (void)pthread_mutex_lock(&s->lock);
        r = read_pages(a, at, to, n);
        (void)pthread_mutex_unlock(&s->lock);
        return r;
}

void med_spill_clear(struct med_spill_area *a)
{
        struct med_spill *s = a->spill;

        for (size_t i = 0; i < a->n_pages; i++) {
                struct page *p = &s->page[a->page[i]];

                p->on_disk = p->changed = p->used = false;
                if (p->frame)
                        memset(p->frame, 0, PAGE);
                /* A page that cannot be noted is lost until the end, no more. */
                if (grow(&s->unused, &s->unused_allocated, s->n_unused + 1, sizeof *s->unused) == 0)
                        s->unused[s->n_unused++] = a->page[i];
        }
        if (s)
                s->area_bytes -= a->allocated * sizeof *a->page;
        free(a->page);
        *a = (struct med_spill_area){ .spill = s };
}

void med_spill_seal(struct med_spill *s)
{
        s->sealed = true;
}

size_t med_spill_memory_bytes(const struct med_spill *s)
{
        return sizeof *s + s->n_resident * PAGE + s->pages_allocated * sizeof *s->page +
               (s->resident ? s->max_resident * sizeof *s->resident : 0) +
               s->unused_allocated * sizeof *s->unused + s->area_bytes;
}

uint64_t med_spill_file_bytes(const struct med_spill *s)
{
        return s->file_pages * PAGE;
}
