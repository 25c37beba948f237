/* SPDX-License-Identifier: GPL-3.0-or-later */
/* key-remains - looks for keys in the whole image of this process: while a cipher lives they lie
 * only in locked memory that no core dump takes, and after its end nowhere. The test keeps its own
 * copies masked, and does not look at the buffer that it looks through. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/macros.h"
#include "base/secret.h"
#include "crypto/sector.h"

#define MASK         0x5a
#define NEEDLE_BYTES 16
#define WINDOW_BYTES ((size_t)1 << 20)
#define SECTORS      40

struct finds {
        unsigned all;
        unsigned unguarded; /* where the mapping may be dumped */
};

static uint8_t *window; /* a mapping of its own */
static uint8_t masked[64];

/* A 16-byte piece of the key at `p`? Compared without making an unmasked copy. */
static bool is_key_piece(const uint8_t *p, size_t key_bytes)
{
        for (size_t piece = 0; piece < key_bytes; piece += NEEDLE_BYTES) {
                size_t same = 0;

                while (same < NEEDLE_BYTES && (p[same] ^ MASK) == masked[piece + same])
                        same++;
                if (same == NEEDLE_BYTES)
                        return true;
        }
        return false;
}

static unsigned count_in(int mem, uint64_t start, uint64_t end, size_t key_bytes)
{
        unsigned n = 0;

        for (uint64_t at = start; at < end; at += WINDOW_BYTES - NEEDLE_BYTES) {
                ssize_t k = pread(mem, window, MIN(WINDOW_BYTES, (size_t)(end - at)), (off_t)at);

                for (ssize_t i = 0; i + NEEDLE_BYTES <= k; i++)
                        n += is_key_piece(window + i, key_bytes);
                if (k < (ssize_t)WINDOW_BYTES)
                        break;
        }
        bth_wipe(window, WINDOW_BYTES);
        return n;
}

/* smaps: a line "start-end perms …" for each mapping, then its properties, last "VmFlags: …". */
static struct finds look_for_key(size_t key_bytes)
{
        FILE *maps = fopen("/proc/self/smaps", "re");
        int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
        uint64_t start = 0, end = 0;
        struct finds f = { 0 };
        bool wanted = false;
        char line[512], perms[5];

        assert_non_null(maps);
        assert_true(mem >= 0);
        while (fgets(line, sizeof line, maps)) {
                uint64_t from, to;

                if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &from, &to, perms) == 3) {
                        start = from;
                        end = to;
                        wanted = perms[0] == 'r' && perms[1] == 'w' &&
                                 start != (uint64_t)(uintptr_t)window;
                } else if (wanted && strncmp(line, "VmFlags:", 8) == 0) {
                        unsigned n = count_in(mem, start, end, key_bytes);

                        f.all += n;
                        f.unguarded += strstr(line, " dd") ? 0 : n;
                }
        }
        (void)fclose(maps);
        (void)close(mem);
        return f;
}

static const enum cry_method methods[] = {
        CRY_METHOD_AES_CBC_128_ELEPHANT, CRY_METHOD_AES_CBC_256_ELEPHANT, CRY_METHOD_AES_CBC_128,
        CRY_METHOD_AES_CBC_256,          CRY_METHOD_AES_XTS_128,          CRY_METHOD_AES_XTS_256,
};

/* The unmasked key lives only inside this call. The mask is volatile against vectors: a call that
 * the dynamic linker has yet to resolve saves them on the stack. */
static struct cry_sector_cipher *make(enum cry_engine engine, enum cry_method method)
{
        static const volatile uint8_t mask = MASK;
        struct cry_sector_cipher *c = NULL;
        uint8_t key[64];

        for (size_t i = 0; i < sizeof key; i++)
                key[i] = masked[i] ^ mask;
        assert_int_equal(cry_sector_cipher_new_with(engine, method, key,
                                                    cry_method_key_bytes(method), 512, &c),
                         0);
        bth_wipe(key, sizeof key);
        return c;
}

static void use(const struct cry_sector_cipher *c)
{
        static uint8_t data[SECTORS * 512];

        assert_int_equal(cry_sector_encrypt(c, 512, data, data, sizeof data), 0);
        assert_int_equal(cry_sector_decrypt(c, 0, data, data, sizeof data), 0);
}

static void test_keys_are_guarded_and_go(void **state)
{
#if defined(__SANITIZE_ADDRESS__)
        skip(); /* the sanitizer's shadow is terabytes to look through */
#endif
        /* Not the library's engine: libcrypto leaves pieces on heap and stack. */
        for (int e = CRY_ENGINE_AESNI; e < _CRY_ENGINE_MAX; e++)
                for (size_t m = 0; m < ARRAY_SIZE(methods); m++) {
                        const size_t key_bytes = cry_method_key_bytes(methods[m]);
                        struct cry_sector_cipher *c;
                        struct finds f;

                        if (!cry_engine_available((enum cry_engine)e))
                                continue;
                        c = make((enum cry_engine)e, methods[m]);
                        f = look_for_key(key_bytes);
                        assert_int_equal(f.unguarded, 0);
                        use(c);
                        f = look_for_key(key_bytes);
                        assert_true(f.all > 0); /* so the look-out works */
                        assert_int_equal(f.unguarded, 0);
                        c = cry_sector_cipher_free(c);
                        f = look_for_key(key_bytes);
                        assert_int_equal(f.all, 0);
                }
}

static int setup(void **state)
{
        unsigned seed = 20261121;

        for (size_t i = 0; i < sizeof masked; i++)
                masked[i] = (uint8_t)rand_r(&seed);
        window = mmap(NULL, WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                      0);
        if (window == MAP_FAILED)
                return -1;
        /* Its own mapping, whatever lies beside it: flags of its own keep the kernel from merging.
         */
        return madvise(window, WINDOW_BYTES, MADV_DONTFORK);
}

static int teardown(void **state)
{
        return munmap(window, WINDOW_BYTES);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_keys_are_guarded_and_go),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
