/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sector - choosing the engine, cutting work into batches, and the way through libcrypto. */
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/le.h"
#include "base/secret.h"
#include "crypto/cpu.h"
#include "crypto/sector-engine.h"
#include "crypto/sector.h"

#define WIPED_STACK_BYTES 8192 /* more than an engine's frames take */

struct method_row {
        enum cry_method method;
        const char *name;
        size_t key_bytes;
        size_t aes_bytes; /* of one AES key */
        bool xts;
        bool elephant;
};

static const struct method_row methods[] = {
        { CRY_METHOD_AES_CBC_128_ELEPHANT, "AES-CBC-128-Elephant", 64, 16, false, true },
        { CRY_METHOD_AES_CBC_256_ELEPHANT, "AES-CBC-256-Elephant", 64, 32, false, true },
        { CRY_METHOD_AES_CBC_128, "AES-CBC-128", 16, 16, false, false },
        { CRY_METHOD_AES_CBC_256, "AES-CBC-256", 32, 32, false, false },
        { CRY_METHOD_AES_XTS_128, "AES-XTS-128", 32, 16, true, false },
        { CRY_METHOD_AES_XTS_256, "AES-XTS-256", 64, 32, true, false },
};

static const struct method_row *find_method(enum cry_method method)
{
        for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
                if (methods[i].method == method)
                        return &methods[i];
        return NULL;
}

const char *cry_method_to_string(enum cry_method method)
{
        const struct method_row *m = find_method(method);

        return m ? m->name : NULL;
}

size_t cry_method_key_bytes(enum cry_method method)
{
        const struct method_row *m = find_method(method);

        return m ? m->key_bytes : 0;
}

/* -- engines -- */

const char *cry_engine_to_string(enum cry_engine engine)
{
        static const char *const names[] = { "best", "library", "aesni", "vaes256", "vaes512" };

        return (size_t)engine < ARRAY_SIZE(names) ? names[engine] : NULL;
}

bool cry_engine_available(enum cry_engine engine)
{
        switch (engine) {
        case CRY_ENGINE_BEST:
        case CRY_ENGINE_LIBRARY:
                return true;
        case CRY_ENGINE_AESNI:
                return cry_cpu_has(CRY_CPU_AES | CRY_CPU_SSSE3);
        case CRY_ENGINE_VAES256:
                return cry_cpu_has(CRY_CPU_VAES | CRY_CPU_VPCLMUL | CRY_CPU_AVX2 | CRY_CPU_AES);
        case CRY_ENGINE_VAES512:
                return cry_cpu_has(CRY_CPU_VAES | CRY_CPU_VPCLMUL | CRY_CPU_AVX512F |
                                   CRY_CPU_AVX512BW | CRY_CPU_AES);
        default:
                return false;
        }
}

static enum cry_engine best_engine(void)
{
        for (int e = _CRY_ENGINE_MAX - 1; e > CRY_ENGINE_LIBRARY; e--)
                if (cry_engine_available((enum cry_engine)e))
                        return (enum cry_engine)e;
        return CRY_ENGINE_LIBRARY;
}

/* -- the cipher -- */

struct cry_sector_cipher {
        const struct method_row *method;
        enum cry_engine engine;
        const struct cry_engine_ops *ops; /* NULL: library */
        cry_elephant_fn elephant;
        size_t sector_bytes;
        struct bth_secret *keys; /* holds a struct cry_aes_keys */
        /* Libcrypto's contexts, of that engine alone: its key schedules lie on the heap, wiped when
         * freed but not locked. Copied for each call, since a context has state. */
        EVP_CIPHER_CTX *decrypt, *encrypt; /* data: XTS or CBC without padding */
        EVP_CIPHER_CTX *ecb;               /* IVs */
        EVP_CIPHER_CTX *diffuser;          /* Elephant's sector keys */
};

static const struct cry_aes_keys *aes_keys(const struct cry_sector_cipher *c)
{
        return (const struct cry_aes_keys *)(const void *)c->keys->data;
}

static int make_context(const EVP_CIPHER *cipher, const uint8_t *key, bool encrypt,
                        EVP_CIPHER_CTX **ret)
{
        EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

        if (!context)
                return -ENOMEM;
        if (EVP_CipherInit_ex(context, cipher, NULL, key, NULL, encrypt) != 1) {
                EVP_CIPHER_CTX_free(context);
                return -EINVAL;
        }
        (void)EVP_CIPHER_CTX_set_padding(context, 0);
        *ret = context;
        return 0;
}

static int make_contexts(struct cry_sector_cipher *c, const uint8_t *key)
{
        const bool wide = c->method->aes_bytes == 32;
        const EVP_CIPHER *ecb = wide ? EVP_aes_256_ecb() : EVP_aes_128_ecb();
        const EVP_CIPHER *data = c->method->xts ? wide ? EVP_aes_256_xts() : EVP_aes_128_xts()
                                 : wide ? EVP_aes_256_cbc()
                                                : EVP_aes_128_cbc();
        int r = make_context(data, key, false, &c->decrypt);

        if (r == 0)
                r = make_context(data, key, true, &c->encrypt);
        if (r == 0 && !c->method->xts)
                r = make_context(ecb, key, true, &c->ecb);
        if (r == 0 && c->method->elephant)
                r = make_context(ecb, key + 32, true, &c->diffuser);
        return r;
}

#ifdef BERTH_X86_64
static int choose_engine(struct cry_sector_cipher *c, const uint8_t *key)
{
        static const struct cry_engine_ops *const ops[] = {
                [CRY_ENGINE_AESNI] = &cry_engine_aesni,
                [CRY_ENGINE_VAES256] = &cry_engine_vaes256,
                [CRY_ENGINE_VAES512] = &cry_engine_vaes512,
        };
        const size_t aes = c->method->aes_bytes;
        struct cry_aes_keys *keys;
        int r;

        c->elephant = c->engine == CRY_ENGINE_VAES512   ? cry_elephant_decrypt_avx512
                      : c->engine == CRY_ENGINE_VAES256 ? cry_elephant_decrypt_avx2
                      : c->engine == CRY_ENGINE_AESNI && cry_cpu_has(CRY_CPU_AVX2)
                              ? cry_elephant_decrypt_avx2
                              : cry_elephant_decrypt_portable;
        if (c->engine == CRY_ENGINE_LIBRARY)
                return 0;
        r = bth_secret_new(sizeof *keys, &c->keys);
        if (r < 0)
                return r;
        c->ops = ops[c->engine];
        keys = (struct cry_aes_keys *)(void *)c->keys->data;
        keys->rounds = aes == 16 ? 10 : 14;
        cry_aesni_expand(key, aes, &keys->encrypt, &keys->decrypt);
        cry_aesni_expand(c->method->xts ? key + aes : key, aes, &keys->tweak, NULL);
        if (c->method->elephant)
                cry_aesni_expand(key + 32, aes, &keys->diffuser, NULL);
        return 0;
}
#else
static int choose_engine(struct cry_sector_cipher *c, const uint8_t *key)
{
        c->elephant = cry_elephant_decrypt_portable;
        return 0;
}
#endif

int cry_sector_cipher_new_with(enum cry_engine engine, enum cry_method method, const uint8_t *key,
                               size_t key_bytes, uint32_t sector_bytes,
                               struct cry_sector_cipher **ret_cipher)
{
        _cleanup_(cry_sector_cipher_freep) struct cry_sector_cipher *c = NULL;
        const struct method_row *row = find_method(method);
        int r;

        if (!row || key_bytes != row->key_bytes || (sector_bytes != 512 && sector_bytes != 4096))
                return -EINVAL;
        /* One key twice would undo the purpose of the second (FIPS 140-2 IG A.9). */
        if (row->xts && CRYPTO_memcmp(key, key + row->aes_bytes, row->aes_bytes) == 0)
                return -EINVAL;
        if (!cry_engine_available(engine))
                return -ENOTSUP;
        c = calloc(1, sizeof *c);
        if (!c)
                return -ENOMEM;
        c->method = row;
        c->engine = engine == CRY_ENGINE_BEST ? best_engine() : engine;
        c->sector_bytes = sector_bytes;
        r = choose_engine(c, key);
        if (r == 0 && c->engine == CRY_ENGINE_LIBRARY)
                r = make_contexts(c, key);
        if (r < 0)
                return r;
        *ret_cipher = take_ptr(c);
        return 0;
}

int cry_sector_cipher_new(enum cry_method method, const uint8_t *key, size_t key_bytes,
                          uint32_t sector_bytes, struct cry_sector_cipher **ret_cipher)
{
        return cry_sector_cipher_new_with(CRY_ENGINE_BEST, method, key, key_bytes, sector_bytes,
                                          ret_cipher);
}

struct cry_sector_cipher *cry_sector_cipher_free(struct cry_sector_cipher *c)
{
        if (!c)
                return NULL;
        EVP_CIPHER_CTX_free(c->decrypt); /* wipes */
        EVP_CIPHER_CTX_free(c->encrypt);
        EVP_CIPHER_CTX_free(c->ecb);
        EVP_CIPHER_CTX_free(c->diffuser);
        (void)bth_secret_free(c->keys);
        free(c);
        return NULL;
}

enum cry_engine cry_sector_cipher_engine(const struct cry_sector_cipher *c)
{
        return c->engine;
}

/* -- through the library -- */

static EVP_CIPHER_CTX *context_free(EVP_CIPHER_CTX *c)
{
        EVP_CIPHER_CTX_free(c);
        return NULL;
}
DEFINE_CLEANUP(context_free, EVP_CIPHER_CTX *);

static int copy_context(const EVP_CIPHER_CTX *from, EVP_CIPHER_CTX **ret)
{
        EVP_CIPHER_CTX *copy = EVP_CIPHER_CTX_new();

        if (!copy)
                return -ENOMEM;
        if (EVP_CIPHER_CTX_copy(copy, from) != 1) {
                EVP_CIPHER_CTX_free(copy);
                return -ENOMEM;
        }
        *ret = copy;
        return 0;
}

static int run(EVP_CIPHER_CTX *context, const uint8_t *iv, const uint8_t *in, uint8_t *out,
               size_t n)
{
        int done = 0;

        if (iv && EVP_CipherInit_ex(context, NULL, NULL, NULL, iv, -1) != 1)
                return -EIO;
        return EVP_CipherUpdate(context, out, &done, in, (int)n) == 1 && (size_t)done == n ? 0
                                                                                           : -EIO;
}

/* Tweak or IV of the sector at `offset_bytes`. */
static int make_iv(const struct cry_sector_cipher *c, EVP_CIPHER_CTX *ecb, uint64_t offset_bytes,
                   uint8_t iv[16])
{
        memset(iv, 0, 16);
        if (c->method->xts) {
                /* EVP encrypts the number itself. */
                bth_store_le64(iv, offset_bytes / c->sector_bytes);
                return 0;
        }
        bth_store_le64(iv, offset_bytes);
        return run(ecb, NULL, iv, iv, 16);
}

static int library_run(const struct cry_sector_cipher *c, bool encrypt, uint64_t offset_bytes,
                       const uint8_t *in, uint8_t *out, size_t n)
{
        _cleanup_(context_freep) EVP_CIPHER_CTX *data = NULL, *ecb = NULL;
        int r = copy_context(encrypt ? c->encrypt : c->decrypt, &data);

        if (r == 0 && c->ecb)
                r = copy_context(c->ecb, &ecb);
        for (size_t at = 0; r == 0 && at < n; at += c->sector_bytes) {
                uint8_t iv[16];

                r = make_iv(c, ecb, offset_bytes + at, iv);
                if (r == 0)
                        r = run(data, iv, in + at, out + at, c->sector_bytes);
        }
        return r;
}

/* -- Elephant -- */

/* Sector keys of a batch: E_t(offset), E_t(offset with byte 15 = 0x80). */
static int make_sector_keys(const struct cry_sector_cipher *c, uint64_t offset_bytes, size_t n,
                            uint8_t keys[CRY_BATCH_SECTORS][32])
{
        _cleanup_(context_freep) EVP_CIPHER_CTX *context = NULL;
        int r;

        memset(keys, 0, sizeof keys[0] * n);
        for (size_t i = 0; i < n; i++) {
                bth_store_le64(keys[i], offset_bytes + i * c->sector_bytes);
                memcpy(keys[i] + 16, keys[i], 8);
                keys[i][31] = 0x80;
        }
#ifdef BERTH_X86_64
        if (c->ops) {
                cry_aesni_ecb(&aes_keys(c)->diffuser, aes_keys(c)->rounds, keys[0], keys[0], 2 * n);
                return 0;
        }
#endif
        r = copy_context(c->diffuser, &context);
        return r < 0 ? r : run(context, NULL, keys[0], keys[0], 32 * n);
}

/* -- batches -- */

static void engine_batch(const struct cry_sector_cipher *c, bool encrypt, uint64_t offset_bytes,
                         const uint8_t *in, uint8_t *out, size_t n_sectors)
{
        uint64_t numbers[CRY_BATCH_SECTORS];
        const struct cry_batch batch = {
                .keys = aes_keys(c),
                .in = in,
                .out = out,
                .n_sectors = n_sectors,
                .sector_bytes = c->sector_bytes,
                .numbers = numbers,
        };

        for (size_t i = 0; i < n_sectors; i++) {
                uint64_t offset = offset_bytes + i * c->sector_bytes;

                numbers[i] = htole64(c->method->xts ? offset / c->sector_bytes : offset);
        }
        if (c->method->xts)
                (encrypt ? c->ops->xts_encrypt : c->ops->xts_decrypt)(&batch);
        else
                (encrypt ? cry_aesni_cbc_encrypt : c->ops->cbc_decrypt)(&batch);
}

static int decrypt_batch(const struct cry_sector_cipher *c, uint64_t offset_bytes,
                         const uint8_t *in, uint8_t *out, size_t n)
{
        uint8_t keys[CRY_BATCH_SECTORS][32];
        int r = 0;

        if (c->ops)
                engine_batch(c, false, offset_bytes, in, out, n);
        else
                r = library_run(c, false, offset_bytes, in, out, n * c->sector_bytes);
        if (r < 0 || !c->method->elephant)
                return r;
        r = make_sector_keys(c, offset_bytes, n, keys);
        if (r == 0)
                c->elephant(out, n, c->sector_bytes, keys[0]);
        bth_wipe(keys, sizeof keys);
        return r;
}

static int encrypt_batch(const struct cry_sector_cipher *c, uint64_t offset_bytes,
                         const uint8_t *in, uint8_t *out, size_t n)
{
        uint8_t keys[CRY_BATCH_SECTORS][32];
        int r;

        if (c->method->elephant) {
                r = make_sector_keys(c, offset_bytes, n, keys);
                if (r < 0)
                        return r;
                if (in != out)
                        memcpy(out, in, n * c->sector_bytes);
                cry_elephant_encrypt_portable(out, n, c->sector_bytes, keys[0]);
                bth_wipe(keys, sizeof keys);
                in = out;
        }
        if (!c->ops)
                return library_run(c, true, offset_bytes, in, out, n * c->sector_bytes);
        engine_batch(c, true, offset_bytes, in, out, n);
        return 0;
}

typedef int (*batch_fn)(const struct cry_sector_cipher *c, uint64_t offset_bytes, const uint8_t *in,
                        uint8_t *out, size_t n_sectors);

/* Clears the stack below the caller, where the compiler may have put round keys that found no
 * register. */
static __attribute__((noinline)) void wipe_stack(void)
{
        uint8_t below[WIPED_STACK_BYTES];

        bth_wipe(below, sizeof below);
}

static int run_batches(const struct cry_sector_cipher *c, batch_fn batch, uint64_t offset_bytes,
                       const uint8_t *in, uint8_t *out, size_t length_bytes)
{
        int r = 0;

        if (offset_bytes % c->sector_bytes != 0 || length_bytes % c->sector_bytes != 0)
                return -EINVAL;
        for (size_t at = 0; r == 0 && at < length_bytes;) {
                size_t n = MIN((length_bytes - at) / c->sector_bytes, (size_t)CRY_BATCH_SECTORS);

                r = batch(c, offset_bytes + at, in + at, out + at, n);
                at += n * c->sector_bytes;
        }
        wipe_stack();
        return r;
}

int cry_sector_decrypt(const struct cry_sector_cipher *c, uint64_t offset_bytes, const void *in,
                       void *out, size_t length_bytes)
{
        return run_batches(c, decrypt_batch, offset_bytes, in, out, length_bytes);
}

int cry_sector_encrypt(const struct cry_sector_cipher *c, uint64_t offset_bytes, const void *in,
                       void *out, size_t length_bytes)
{
        return run_batches(c, encrypt_batch, offset_bytes, in, out, length_bytes);
}
