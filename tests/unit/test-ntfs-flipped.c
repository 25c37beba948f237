/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ntfs-flipped - a volume of ntfs-3g's with flipped bytes, each time in a process of its own, as a
 * drive has: it ends well, or libntfs-3g ends it and the parent can say so. Our own code never
 * crashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/exit.h"
#include "base/io.h"
#include "media/ntfs_scan.h"
#include "tests/lib/ntfs-image.h"

#define IMAGE_BYTES (8u << 20)
#define ROUNDS      120u
#define FLIPS       24u
#define READ_BYTES  (1u << 20)

static const char script[] =
        "import os,random,sys\n"
        "m,r=sys.argv[1],random.Random(5)\n"
        "os.mkdir(m+'/packed')\n"
        "os.setxattr(m+'/packed','system.ntfs_attrib_be',(0x810).to_bytes(4,'big'))\n"
        "for i in range(12):\n"
        "  open(m+'/packed/%d'%i,'wb').write(b''.join(\n"
        "    r.choice((r.randbytes(9000),b'berth %d '%j*3000,bytes(70000))) for j in range(4)))\n"
        "os.mkdir(m+'/plain')\n"
        "for i in range(60): open(m+'/plain/%d'%i,'wb').write(r.randbytes(i*97))\n"
        "f=open(m+'/comb','wb')\n"
        "for i in range(900): f.seek(i*3*4096); f.write(b'%d'%i)\n"
        "f.close()\n";

static struct ntfs_image image;

/* Shared with the child: what it did last. */
static struct {
        volatile bool in_library;
        volatile unsigned packed_read;
} * shared;

static uint64_t next_random(uint64_t *state)
{
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        return *state >> 24;
}

/* Boot sector, records (by their mark), and clusters of compressed content and lists. */
static void flip(uint64_t seed)
{
        for (unsigned i = 0; i < FLIPS; i++) {
                uint64_t at = next_random(&seed) % IMAGE_BYTES;

                if (i == 0 && seed >> 60 == 0)
                        at %= 128;
                else if (i % 3)
                        for (unsigned k = 0;
                             k < 4096 && memcmp(image.bytes + (at & ~1023ull), "FILE", 4) != 0; k++)
                                at = next_random(&seed) % IMAGE_BYTES;
                image.bytes[at] ^= (uint8_t)(1u << (next_random(&seed) & 7));
        }
}

static int read_file(void *context, const char *path _unused_, const struct med_ntfs_found *found)
{
        static uint8_t buffer[READ_BYTES];
        struct med_ntfs_file *f;

        if (med_ntfs_file_open(context, found->reference, &f) < 0)
                return 0;
        shared->in_library = f->packed;
        if (bth_source_read(&f->source, 0, buffer,
                            (size_t)MIN(f->source.size_bytes, (uint64_t)READ_BYTES)) == 0)
                shared->packed_read += f->packed;
        shared->in_library = false;
        (void)bth_source_free(&f->source);
        return 0;
}

static _noreturn_ void child(uint64_t seed)
{
        const struct rlimit no_core = { 0 };
        struct bth_source *source;
        struct med_ntfs_volume *v;
        struct med_ntfs_index *x;
        struct med_ntfs_health health;

        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)alarm(120); /* ours never takes so long, and what ends by SIGALRM is a failure */
        if (seed)
                flip(seed);
        if (bth_source_new_memory(image.bytes, image.n_bytes, &source) < 0)
                _exit(1);
        if (med_ntfs_open(source, &v, NULL) == 0) {
                if (med_ntfs_scan(v, 4u << 20, &x, NULL) == 0) {
                        (void)!med_ntfs_index_walk(x, "", read_file, v);
                        (void)med_ntfs_index_free(x);
                }
                shared->in_library = true;
                (void)!med_ntfs_check(v, &health, NULL);
                (void)med_ntfs_close(v);
                shared->in_library = false;
        }
        (void)bth_source_free(source);
        _exit(0);
}

static int status_of(uint64_t seed)
{
        int status = 0;
        pid_t pid;

        shared->in_library = false;
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
                child(seed);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return status;
}

/* The volume that ended a process stays, for whoever looks into it: mkntfs never makes the same one
 * twice, so the seed alone would not do. The flips are made in a child, so ours stays whole. */
static void keep(uint64_t seed)
{
        char path[64];
        int status = 0;
        pid_t pid;

        (void)snprintf(path, sizeof path, "/var/tmp/berth-ntfs-%016jx.img", (uintmax_t)seed);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                flip(seed);
                _exit(bth_write_file_atomic(path, image.bytes, image.n_bytes, 0600) < 0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        print_message("the damaged volume is kept as %s\n",
                      status == 0 ? path : "nothing: no room");
}

static void test_flipped(void **state _unused_)
{
        unsigned ended = 0;

        assert_int_equal(status_of(0), 0);
        assert_int_equal(shared->packed_read, 12);
        for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
                struct bth_error e = BTH_ERROR_INIT;
                int status = status_of(seed * 0x9e3779b97f4a7c15u);

                if (status == 0)
                        continue;
                keep(seed * 0x9e3779b97f4a7c15u);
                if (!shared->in_library)
                        fail_msg("our code ended with status %#x by seed %ju", (unsigned)status,
                                 (uintmax_t)seed);
                print_message("libntfs-3g ended by seed %ju, status %#x\n", (uintmax_t)seed,
                              (unsigned)status);
                ended++;
                if (WIFSIGNALED(status))
                        assert_int_equal(bth_exit_explain(status, &e), -EIO);
        }
        print_message("%u of %u processes were ended in libntfs-3g; %u compressed files read\n",
                      ended, ROUNDS, shared->packed_read);
        /* Most flips leave most files as they were. */
        assert_true(shared->packed_read > ROUNDS);
}

int main(void)
{
        const struct ntfs_image_options options = { .n_bytes = IMAGE_BYTES,
                                                    .sector = "512",
                                                    .cluster = "4096",
                                                    .label = "flipped",
                                                    .mount = "compression",
                                                    .script = script };
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_flipped) };
        int r = ntfs_image_make(&options, &image);

        if (r == -EOPNOTSUPP) {
                puts("SKIP: cannot run here: mkntfs or ntfs-3g over FUSE");
                return 77;
        }
        shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                      0);
        if (r < 0 || shared == MAP_FAILED)
                return 1;
        r = cmocka_run_group_tests(tests, NULL, NULL);
        ntfs_image_free(&image);
        return r;
}
