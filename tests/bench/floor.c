/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The floor under an upload: what reading, deciphering, hashing and sending cost by themselves, in
 * one thread, for each byte of an image.
 *
 *   floor IMAGE PORT [CA]        to the sink on 127.0.0.1, with TLS under the authority CA
 *
 * Sixteen blocks of 4 MiB are read past the page cache, deciphered in place, hashed side by side
 * and put, each in a request over one connection; then the next sixteen. Prints a line of JSON: CPU
 * seconds per GB (10^9 bytes) of each part and of all, for one pass over the image. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/str.h"
#include "crypto/md5multi.h"
#include "crypto/sector.h"
#include "hal/block.h"
#include "uploader/records.h"

#define BLOCK_BYTES  ((size_t)4 << 20)
#define BLOCKS       16u
#define SECTOR_BYTES 512u
#define PIECE_BYTES  ((size_t)64 << 10) /* as curl is given them */

enum part { READ, CIPHER, HASH, SEND, PARTS };

struct line {
        int fd;
        SSL *ssl;
        char host[32];
};

static _Noreturn void fail(const char *what)
{
        (void)fprintf(stderr, "floor: %s failed\n", what);
        ERR_print_errors_fp(stderr);
        exit(1);
}

static double cpu_sec(void)
{
        struct timespec t;

        (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void open_line(struct line *line, uint16_t port, const char *ca_file)
{
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_port = htons(port),
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        SSL_CTX *tls;

        line->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (line->fd < 0 || connect(line->fd, (struct sockaddr *)&address, sizeof address) < 0)
                fail("connecting");
        (void)snprintf(line->host, sizeof line->host, "127.0.0.1:%u", port);
        line->ssl = NULL;
        if (!ca_file)
                return;
        tls = SSL_CTX_new(TLS_client_method());
        if (!tls || SSL_CTX_load_verify_locations(tls, ca_file, NULL) != 1)
                fail("reading the authority");
        SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
        line->ssl = SSL_new(tls);
        if (!line->ssl || SSL_set_fd(line->ssl, line->fd) != 1 || SSL_connect(line->ssl) != 1)
                fail("TLS");
        SSL_CTX_free(tls);
}

static void close_line(struct line *line)
{
        SSL_free(line->ssl);
        (void)close(line->fd);
}

/* Over TLS in pieces, whose records are sent together. */
static ssize_t give_tls(SSL *ssl, const uint8_t *data, size_t n)
{
        n = MIN(n, PIECE_BYTES);
        upl_records_expect_of(ssl, n);
        return SSL_write(ssl, data, (int)n);
}

static void give(struct line *line, const uint8_t *data, size_t n)
{
        while (n > 0) {
                ssize_t put = line->ssl ? give_tls(line->ssl, data, n)
                                        : send(line->fd, data, n, MSG_NOSIGNAL);

                if (put <= 0)
                        fail("sending");
                data += put;
                n -= (size_t)put;
        }
}

static void put_block(struct line *line, const uint8_t *data, size_t n, uint64_t number)
{
        char head[512], answer[4096];
        size_t have = 0;
        int length = snprintf(head, sizeof head,
                              "PUT /floor/load/floor.bin?comp=block&blockid=%016llx HTTP/1.1\r\n"
                              "Host: %s\r\nContent-Length: %zu\r\n\r\n",
                              (unsigned long long)number, line->host, n);

        give(line, (const uint8_t *)head, (size_t)length);
        give(line, data, n);
        do {
                ssize_t got = line->ssl
                                      ? SSL_read(line->ssl, answer + have,
                                                 (int)(sizeof answer - 1 - have))
                                      : recv(line->fd, answer + have, sizeof answer - 1 - have, 0);

                if (got <= 0)
                        fail("receiving");
                have += (size_t)got;
                answer[have] = '\0';
        } while (!strstr(answer, "\r\n\r\n") && have < sizeof answer - 1);
        if (strncmp(answer, "HTTP/1.1 201", 12) != 0)
                fail("the request");
}

/* One round: what all blocks have in common goes through each part in turn. */
static void round_of(struct bth_source *image, const struct cry_sector_cipher *cipher,
                     struct line *line, uint8_t *buffer, uint64_t at, size_t n, double spent[PARTS])
{
        struct cry_md5 md5[BLOCKS];
        struct cry_md5_job jobs[BLOCKS];
        struct bth_read reads[BLOCKS];
        size_t n_blocks = (n + BLOCK_BYTES - 1) / BLOCK_BYTES;
        double t[PARTS + 1];

        for (size_t i = 0; i < n_blocks; i++) {
                size_t length = MIN(BLOCK_BYTES, n - i * BLOCK_BYTES);

                cry_md5_init(&md5[i]);
                jobs[i] = (struct cry_md5_job){ &md5[i], buffer + i * BLOCK_BYTES, length };
                reads[i] = (struct bth_read){ at + i * BLOCK_BYTES, length,
                                              buffer + i * BLOCK_BYTES, 0 };
        }
        t[READ] = cpu_sec();
        if (bth_source_read_many(image, reads, n_blocks) < 0)
                fail("reading");
        t[CIPHER] = cpu_sec();
        if (cry_sector_decrypt(cipher, at, buffer, buffer, n) < 0)
                fail("deciphering");
        t[HASH] = cpu_sec();
        cry_md5_update_many(jobs, n_blocks);
        t[SEND] = cpu_sec();
        for (size_t i = 0; i < n_blocks; i++)
                put_block(line, buffer + i * BLOCK_BYTES, reads[i].length_bytes,
                          at / BLOCK_BYTES + i);
        t[PARTS] = cpu_sec();
        for (int part = 0; part < PARTS; part++)
                spent[part] += t[part + 1] - t[part];
}

int main(int argc, char **argv)
{
        static const uint8_t key[32] = { 1, 2, 3 };
        struct cry_sector_cipher *cipher;
        struct bth_error error = { 0 };
        struct bth_source *image;
        double spent[PARTS] = { 0 }, sum = 0, gb;
        struct line line;
        uint64_t port, n;
        uint8_t *buffer;
        int fd;

        if (argc < 3 || argc > 4 || bth_parse_u64(argv[2], &port) < 0 || port > UINT16_MAX) {
                (void)fprintf(stderr, "usage: floor IMAGE PORT [CA]\n");
                return 2;
        }
        fd = open(argv[1], O_RDONLY | O_CLOEXEC);
        if (fd < 0 || hal_block_open_fd(fd, true, NULL, &image, &error) < 0)
                fail("opening the image");
        if (cry_sector_cipher_new(CRY_METHOD_AES_XTS_128, key, sizeof key, SECTOR_BYTES, &cipher) <
            0)
                fail("making the cipher");
        buffer = bth_io_buffer_new(BLOCKS * BLOCK_BYTES);
        if (!buffer)
                fail("getting memory");
        memset(buffer, 0, BLOCKS * BLOCK_BYTES);
        open_line(&line, (uint16_t)port, argc == 4 ? argv[3] : NULL);
        n = image->size_bytes / SECTOR_BYTES * SECTOR_BYTES;
        for (uint64_t at = 0; at < n; at += BLOCKS * BLOCK_BYTES)
                round_of(image, cipher, &line, buffer, at, MIN(BLOCKS * BLOCK_BYTES, n - at),
                         spent);
        gb = (double)n / 1e9;
        for (int part = 0; part < PARTS; part++)
                sum += spent[part];
        (void)printf("{\"read\": %.4f, \"cipher\": %.4f, \"md5\": %.4f, \"send\": %.4f, \"sum\": "
                     "%.4f}\n",
                     spent[READ] / gb, spent[CIPHER] / gb, spent[HASH] / gb, spent[SEND] / gb,
                     sum / gb);
        close_line(&line);
        free(buffer);
        cry_sector_cipher_free(cipher);
        bth_source_free(image);
        return 0;
}
