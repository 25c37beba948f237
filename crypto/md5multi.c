/* SPDX-License-Identifier: GPL-3.0-or-later */
/* md5multi - streams, and which lane works on which. */
#define OPENSSL_SUPPRESS_DEPRECATED /* only the old MD5_CTX lets a chaining value in and out */
#include <string.h>

#include <openssl/md5.h>

#include "base/le.h"
#include "crypto/cpu.h"
#include "crypto/md5-lanes.h"
#include "crypto/md5multi.h"

#define BLOCK 64

const char *cry_md5_engine_to_string(enum cry_md5_engine engine)
{
        static const char *const names[] = { "best", "library", "avx2", "avx512" };

        return (size_t)engine < ARRAY_SIZE(names) ? names[engine] : NULL;
}

bool cry_md5_engine_available(enum cry_md5_engine engine)
{
        switch (engine) {
        case CRY_MD5_BEST:
        case CRY_MD5_LIBRARY:
                return true;
        case CRY_MD5_AVX2:
                return cry_cpu_has(CRY_CPU_AVX2);
        case CRY_MD5_AVX512:
                return cry_cpu_has(CRY_CPU_AVX512F);
        default:
                return false;
        }
}

void cry_md5_init(struct cry_md5 *md5)
{
        *md5 = (struct cry_md5){ .h = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476 } };
}

/* Whole blocks of one stream, through libcrypto. */
static void library_blocks(uint32_t h[4], const uint8_t *data, size_t n_blocks)
{
        MD5_CTX c;

        if (n_blocks == 0)
                return;
        (void)MD5_Init(&c); /* cannot fail: it only sets fields */
        c.A = h[0];
        c.B = h[1];
        c.C = h[2];
        c.D = h[3];
        (void)MD5_Update(&c, data, n_blocks * BLOCK);
        h[0] = c.A;
        h[1] = c.B;
        h[2] = c.C;
        h[3] = c.D;
}

/* Takes a job's bytes into `pending` until whole blocks can be read from its data. Returns those
 * blocks' number; what is behind them is put into `pending` now, since nothing reads it before the
 * next call. */
static size_t begin_job(struct cry_md5_job *j)
{
        struct cry_md5 *md5 = j->md5;
        size_t have = (size_t)(md5->length_bytes % BLOCK), whole;

        md5->length_bytes += j->length_bytes;
        if (have > 0) {
                size_t take = MIN(BLOCK - have, j->length_bytes);

                if (take > 0)
                        memcpy(md5->pending + have, j->data, take);
                j->data = (const uint8_t *)j->data + take;
                j->length_bytes -= take;
                if (have + take < BLOCK)
                        return 0;
                library_blocks(md5->h, md5->pending, 1);
        }
        whole = j->length_bytes / BLOCK;
        if (j->length_bytes % BLOCK > 0)
                memcpy(md5->pending, (const uint8_t *)j->data + whole * BLOCK,
                       j->length_bytes % BLOCK);
        return whole;
}

struct lanes {
        cry_md5_lanes_fn run;
        size_t width;
        uint32_t h[4][CRY_MD5_MAX_LANES];
        const uint8_t *at[CRY_MD5_MAX_LANES];
        size_t left[CRY_MD5_MAX_LANES]; /* blocks; 0: the lane is idle */
        struct cry_md5 *md5[CRY_MD5_MAX_LANES];
        size_t n_busy;
};

static void load_lane(struct lanes *l, size_t lane, struct cry_md5_job *j, size_t n_blocks)
{
        for (size_t i = 0; i < 4; i++)
                l->h[i][lane] = j->md5->h[i];
        l->at[lane] = j->data;
        l->left[lane] = n_blocks;
        l->md5[lane] = j->md5;
        l->n_busy++;
}

/* Fills idle lanes with the jobs from `*next` on. */
static void fill_lanes(struct lanes *l, struct cry_md5_job *jobs, size_t n_jobs, size_t *next)
{
        for (size_t lane = 0; lane < l->width; lane++)
                while (l->left[lane] == 0 && *next < n_jobs) {
                        struct cry_md5_job *j = &jobs[(*next)++];
                        size_t n_blocks = begin_job(j);

                        if (n_blocks > 0)
                                load_lane(l, lane, j, n_blocks);
                }
}

/* Runs all lanes to the end of the shortest. Idle lanes read along with a busy one; nobody looks at
 * them. */
static void run_lanes(struct lanes *l)
{
        size_t n = SIZE_MAX, busy = 0;

        for (size_t lane = 0; lane < l->width; lane++)
                if (l->left[lane] > 0 && l->left[lane] < n) {
                        n = l->left[lane];
                        busy = lane;
                }
        for (size_t lane = 0; lane < l->width; lane++)
                if (l->left[lane] == 0)
                        l->at[lane] = l->at[busy];
        l->run(l->h, l->at, n);
        for (size_t lane = 0; lane < l->width; lane++) {
                if (l->left[lane] == 0)
                        continue;
                l->left[lane] -= n;
                if (l->left[lane] > 0)
                        continue;
                for (size_t i = 0; i < 4; i++)
                        l->md5[lane]->h[i] = l->h[i][lane];
                l->n_busy--;
        }
}

/* One lane alone is slower than libcrypto. */
static void finish_alone(struct lanes *l)
{
        for (size_t lane = 0; lane < l->width; lane++)
                if (l->left[lane] > 0) {
                        for (size_t i = 0; i < 4; i++)
                                l->md5[lane]->h[i] = l->h[i][lane];
                        library_blocks(l->md5[lane]->h, l->at[lane], l->left[lane]);
                }
}

static void update_lanes(cry_md5_lanes_fn run, size_t width, struct cry_md5_job *jobs,
                         size_t n_jobs)
{
        struct lanes l = { .run = run, .width = width };
        size_t next = 0;

        for (;;) {
                fill_lanes(&l, jobs, n_jobs, &next);
                if (l.n_busy <= 1) {
                        finish_alone(&l);
                        return;
                }
                run_lanes(&l);
        }
}

void cry_md5_update_many_with(enum cry_md5_engine engine, struct cry_md5_job *jobs, size_t n_jobs)
{
        if (engine == CRY_MD5_BEST)
                engine = n_jobs < 2                                 ? CRY_MD5_LIBRARY
                         : cry_md5_engine_available(CRY_MD5_AVX512) ? CRY_MD5_AVX512
                         : cry_md5_engine_available(CRY_MD5_AVX2)   ? CRY_MD5_AVX2
                                                                    : CRY_MD5_LIBRARY;
#ifdef BERTH_X86_64
        if (engine == CRY_MD5_AVX512) {
                update_lanes(cry_md5_lanes_avx512, 16, jobs, n_jobs);
                return;
        }
        if (engine == CRY_MD5_AVX2) {
                update_lanes(cry_md5_lanes_avx2, 8, jobs, n_jobs);
                return;
        }
#endif
        for (size_t i = 0; i < n_jobs; i++) {
                size_t n_blocks = begin_job(&jobs[i]);

                library_blocks(jobs[i].md5->h, jobs[i].data, n_blocks);
        }
}

void cry_md5_update_many(struct cry_md5_job *jobs, size_t n_jobs)
{
        cry_md5_update_many_with(CRY_MD5_BEST, jobs, n_jobs);
}

void cry_md5_update(struct cry_md5 *md5, const void *data, size_t length_bytes)
{
        struct cry_md5_job j = { md5, data, length_bytes };

        cry_md5_update_many_with(CRY_MD5_LIBRARY, &j, 1);
}

void cry_md5_finish(const struct cry_md5 *md5, uint8_t ret_hash[16])
{
        uint8_t end[2 * BLOCK] = { 0 };
        const size_t have = (size_t)(md5->length_bytes % BLOCK);
        const size_t n_blocks = have + 9 <= BLOCK ? 1 : 2;
        uint32_t h[4];

        memcpy(end, md5->pending, have);
        end[have] = 0x80;
        bth_store_le64(end + n_blocks * BLOCK - 8, md5->length_bytes * 8);
        memcpy(h, md5->h, sizeof h);
        library_blocks(h, end, n_blocks);
        for (size_t i = 0; i < 4; i++)
                bth_store_le32(ret_hash + 4 * i, h[i]);
}
