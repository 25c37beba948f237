/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What our engine costs without a file system: an encrypted file is read, decrypted, hashed and
 * sent.
 *
 *   bench-upload ENDPOINT IMAGE CASE [direct] [FILES]
 *
 * CASE is large (one file of the whole image), medium (64) or small (as many of 16 KiB as fit, or
 * FILES, over and over the image). Blocks are 4 MiB. `direct` reads with O_DIRECT. BERTH_CA names
 * the authority of an https endpoint, BERTH_MEMORY the budget in bytes. Prints a JSON line: CPU and
 * wall seconds, bytes, files, peak of resident memory. What it takes to know the manifest's hashes
 * beforehand is not counted. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/str.h"
#include "base/time.h"
#include "crypto/md5multi.h"
#include "crypto/sector.h"
#include "hal/block.h"
#include "uploader/engine.h"
#include "uploader/pool.h"

#define BLOCK_BYTES  (UINT64_C(4) << 20)
#define SMALL_BYTES  (UINT64_C(16) << 10)
#define BUDGET_BYTES (UINT64_C(128) << 20)
#define HASHES       32u

/* A decrypting layer like the one over a volume: XTS of 512 byte sectors, in place. */
struct plain {
        struct bth_source source;
        struct bth_source *below;
        struct cry_sector_cipher *cipher;
};

static int plain_read(struct bth_source *source, uint64_t offset_bytes, void *buffer, size_t n)
{
        struct plain *p = container_of(source, struct plain, source);
        int r = bth_source_read(p->below, offset_bytes, buffer, n);

        return r < 0 ? r : cry_sector_decrypt(p->cipher, offset_bytes, buffer, buffer, n);
}

struct job {
        uint64_t file_bytes, n_files, next;
        uint64_t block_bytes;
        uint64_t n_blocks;                 /* of the image */
        struct med_manifest_range *ranges; /* of the image, as one file after the other */
        struct bth_source *image;
        uint64_t image_bytes;
        uint64_t failed;
};

struct file {
        struct med_manifest_blob blob;
        struct med_manifest_range *ranges;
        struct bth_source *content;
        char path[64];
};

static int on_next(void *userdata, struct upl_transfer_item *ret_item, void **ret_cookie)
{
        struct job *j = userdata;
        uint64_t per_file = j->file_bytes / j->block_bytes, i = j->next++, at;
        struct file *f;

        if (i >= j->n_files)
                return 0;
        f = calloc(1, sizeof *f);
        if (!f || !(f->ranges = calloc((size_t)per_file, sizeof *f->ranges)))
                return -ENOMEM;
        at = i * j->file_bytes % j->image_bytes;
        for (uint64_t k = 0; k < per_file; k++) {
                f->ranges[k] = j->ranges[at / j->block_bytes + k];
                f->ranges[k].offset_bytes = k * j->block_bytes;
        }
        (void)snprintf(f->path, sizeof f->path, "bench/dir-%" PRIu64 "/file-%" PRIu64, i / 1000, i);
        f->blob = (struct med_manifest_blob){
                .index = i,
                .blob_path = f->path,
                .file_path = "\\x",
                .length_bytes = j->file_bytes,
                .disposition = BTH_DISPOSITION_RENAME,
                .kind = MED_MANIFEST_BLOCK,
                .ranges = f->ranges,
                .n_ranges = (size_t)per_file,
        };
        if (bth_source_new_window(j->image, at, j->file_bytes, false, &f->content) < 0)
                return -ENOMEM;
        *ret_item = (struct upl_transfer_item){ .blob = &f->blob, .content = f->content };
        *ret_cookie = f;
        return 1;
}

static void drop(void *userdata, void *cookie)
{
        struct file *f = cookie;

        (void)bth_source_free(f->content);
        free(f->ranges);
        free(f);
}

static void on_ended(void *userdata, void *cookie, const struct upl_transfer_item *item,
                     const struct upl_transfer_result *result)
{
        struct job *j = userdata;
        char text[1500];

        if (result->outcome.status != BTH_BLOB_STATUS_COMPLETED && j->failed++ == 0)
                (void)fprintf(stderr, "%s\n",
                              bth_error_to_string(&result->error, text, sizeof text));
        drop(userdata, cookie);
}

/* The manifest's hashes, thirty-two blocks at a time. */
static int learn_hashes(struct job *j)
{
        _cleanup_free_ uint8_t *data = bth_io_buffer_new((size_t)(HASHES * j->block_bytes));
        int r = data ? 0 : -ENOMEM;

        j->n_blocks = j->image_bytes / j->block_bytes;
        j->ranges = calloc((size_t)j->n_blocks, sizeof *j->ranges);
        if (!j->ranges)
                r = -ENOMEM;
        for (uint64_t at = 0; at < j->n_blocks && r == 0; at += HASHES) {
                size_t n = (size_t)MIN((uint64_t)HASHES, j->n_blocks - at);
                struct cry_md5_job jobs[HASHES];
                struct cry_md5 md5[HASHES];

                r = bth_source_read(j->image, at * j->block_bytes, data,
                                    n * (size_t)j->block_bytes);
                for (size_t k = 0; k < n && r == 0; k++) {
                        cry_md5_init(&md5[k]);
                        jobs[k] = (struct cry_md5_job){ &md5[k], data + k * j->block_bytes,
                                                        (size_t)j->block_bytes };
                }
                if (r == 0)
                        cry_md5_update_many(jobs, n);
                for (size_t k = 0; k < n && r == 0; k++) {
                        struct med_manifest_range *range = &j->ranges[at + k];

                        range->length_bytes = j->block_bytes;
                        range->id = MED_MANIFEST_NO_ID;
                        cry_md5_finish(&md5[k], range->md5);
                }
        }
        return r;
}

static int open_image(const char *path, bool direct, struct plain *p, struct bth_error *error)
{
        static const struct bth_source_ops ops = { .read = plain_read };
        struct hal_block_options o = { .no_uring = false };
        uint8_t key[32];
        int fd = open(path, O_RDONLY | O_CLOEXEC), r;

        if (fd < 0)
                return -errno;
        for (size_t i = 0; i < sizeof key; i++)
                key[i] = (uint8_t)(i * 7 + 1);
        r = direct ? hal_block_open_fd(fd, true, &o, &p->below, error)
                   : bth_source_new_fd(fd, true, &p->below);
        if (r == 0)
                r = cry_sector_cipher_new(CRY_METHOD_AES_XTS_128, key, sizeof key, 512, &p->cipher);
        if (r < 0)
                return r;
        p->source = (struct bth_source){ &ops, p->below->size_bytes, 512, 4096 };
        return 0;
}

static int open_client(const char *endpoint, struct upl_transfer_env *env,
                       struct upl_credential **ret_credential, struct bth_error *error)
{
        struct upl_http_options http = { .ca_file = getenv("BERTH_CA") };
        struct upl_client_options o = { .waits = env->budget };
        struct bth_secret *sas = NULL;
        int r = upl_endpoint_parse(endpoint, true, &o.endpoint, error);

        if (r == 0)
                r = bth_secret_new_copy("sv=1&sig=bench", 14, &sas);
        if (r == 0)
                r = upl_credential_new(UPL_CREDENTIAL_SAS, "bench", sas, ret_credential, error);
        o.credential = *ret_credential;
        if (r == 0)
                r = upl_http_curl_new(&http, &o.http);
        if (r == 0)
                r = upl_client_new(&o, &env->client);
        upl_endpoint_clear(&o.endpoint);
        (void)bth_secret_free(sas);
        return r;
}

static double seconds(struct timeval t)
{
        return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static int measure(struct job *j, struct upl_transfer_env *env, const char *name)
{
        struct upl_engine_options o = {
                .env = env, .next = on_next, .ended = on_ended, .dropped = drop, .userdata = j
        };
        struct rusage before, after;
        uint64_t started = bth_now_monotonic_usec();
        struct upl_budget_state b;
        double wall, user, sys, gb = (double)(j->n_files * j->file_bytes) / 1e9;
        int r;

        (void)getrusage(RUSAGE_SELF, &before);
        r = upl_engine_run(&o);
        (void)getrusage(RUSAGE_SELF, &after);
        wall = (double)(bth_now_monotonic_usec() - started) / 1e6;
        user = seconds(after.ru_utime) - seconds(before.ru_utime);
        sys = seconds(after.ru_stime) - seconds(before.ru_stime);
        upl_budget_look(env->budget, &b);
        (void)printf("{\"case\": \"%s\", \"files\": %" PRIu64 ", \"GB\": %.3f, \"wall_s\": %.3f, "
                     "\"user_s\": %.3f, \"sys_s\": %.3f, \"cpu_s_per_GB\": %.3f, "
                     "\"cpu_ms_per_file\": %.4f, \"peak_MiB\": %ld, \"switches\": %ld, "
                     "\"failed\": %" PRIu64 ", \"result\": %d}\n",
                     name, j->n_files, gb, wall, user, sys, (user + sys) / gb,
                     (user + sys) * 1e3 / (double)j->n_files, after.ru_maxrss / 1024,
                     after.ru_nvcsw + after.ru_nivcsw - before.ru_nvcsw - before.ru_nivcsw,
                     j->failed, r);
        return r < 0 || j->failed > 0;
}

int main(int argc, char **argv)
{
        static const uint8_t identity[UPL_STATE_IDENTITY_BYTES] = { 7 };
        static atomic_bool stop;
        struct bth_error error = BTH_ERROR_INIT;
        struct upl_transfer_env env = { .stop = &stop };
        struct upl_credential *credential = NULL;
        char folder[] = "/tmp/berth-bench-XXXXXX";
        const char *memory = getenv("BERTH_MEMORY"), *name = argc > 3 ? argv[3] : "";
        bool small = strcmp(name, "small") == 0,
             direct = argc > 4 && strcmp(argv[4], "direct") == 0;
        struct plain plain = { .below = NULL };
        uint64_t budget = BUDGET_BYTES;
        struct job j = { .block_bytes = small ? SMALL_BYTES : BLOCK_BYTES };
        int dir, r;

        if (argc < 4 || (memory && bth_parse_u64(memory, &budget) < 0))
                return 2;
        upl_pool_tune_heap();
        r = open_image(argv[2], direct, &plain, &error);
        if (r == 0) {
                j.image = &plain.source;
                j.image_bytes = plain.source.size_bytes / (64 * BLOCK_BYTES) * (64 * BLOCK_BYTES);
                j.file_bytes = small                         ? SMALL_BYTES
                               : strcmp(name, "medium") == 0 ? j.image_bytes / 64
                                                             : j.image_bytes;
                j.n_files = j.file_bytes ? j.image_bytes / j.file_bytes : 0;
                if (argc > 5)
                        r = bth_parse_u64(argv[5], &j.n_files);
        }
        if (r == 0)
                r = learn_hashes(&j);
        dir = mkdtemp(folder) ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        if (r == 0)
                r = dir < 0 ? -errno : upl_budget_new(budget, &env.budget);
        if (r == 0)
                r = upl_hasher_new(&env.hasher);
        if (r == 0)
                r = upl_state_open(dir, "state", identity, &env.state, &error);
        if (r == 0)
                r = open_client(argv[1], &env, &credential, &error);
        if (r == 0)
                r = measure(&j, &env, name);
        else
                (void)fprintf(stderr, "cannot start: %s %s\n", bth_strerror(r), error.sentence);
        (void)upl_client_free(env.client);
        (void)upl_credential_free(credential);
        (void)upl_state_free(env.state);
        (void)upl_hasher_free(env.hasher);
        (void)upl_budget_free(env.budget);
        (void)bth_source_free(plain.below);
        (void)cry_sector_cipher_free(plain.cipher);
        free(j.ranges);
        if (dir >= 0) {
                (void)unlinkat(dir, "state", 0);
                (void)close(dir);
                (void)rmdir(folder);
        }
        return r != 0;
}
