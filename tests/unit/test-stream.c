/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Bodies too long to be held, over a transport of this file that takes them in any pieces. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/time.h"
#include "uploader/stream.h"

#define SLICE  UPL_STREAM_SLICE_BYTES
#define LENGTH (21 * SLICE + 12345)

/* --- a transport that only takes bodies --- */

struct taker {
        struct upl_http base;
        pthread_mutex_t lock; /* over `woken` */
        pthread_cond_t changed;
        bool woken;
        struct upl_exchange *x;
        struct cry_md5 md5;
        uint64_t got_bytes;
        size_t piece_bytes;
        uint64_t break_at_bytes; /* the connection breaks there, `breaks` times */
        unsigned breaks, n_attempts, n_whole;
        uint8_t whole_md5[BTH_MD5_BYTES];
};

static int taker_submit(struct upl_http *h, struct upl_exchange *x)
{
        struct taker *t = container_of(h, struct taker, base);

        t->x = x;
        t->got_bytes = 0;
        t->n_attempts++;
        cry_md5_init(&t->md5);
        return 0;
}

static void taker_cancel(struct upl_http *h, struct upl_exchange *x)
{
        container_of(h, struct taker, base)->x = NULL;
}

static void end_with(struct taker *t, int result, unsigned status)
{
        struct upl_exchange *x = t->x;

        t->x = NULL;
        x->result = result;
        x->status = status;
        x->done(x);
}

static void take_body(struct taker *t)
{
        static uint8_t buffer[1 << 18];

        while (t->x && t->got_bytes < t->x->body.length_bytes) {
                ssize_t n = t->x->body.read(t->x->userdata, buffer, t->piece_bytes);

                if (n == UPL_BODY_WAIT)
                        return;
                if (n <= 0) {
                        end_with(t, (int)n, 0);
                        return;
                }
                cry_md5_update(&t->md5, buffer, (size_t)n);
                t->got_bytes += (uint64_t)n;
                if (t->breaks > 0 && t->got_bytes >= t->break_at_bytes) {
                        t->breaks--;
                        end_with(t, -ECONNRESET, 0);
                        return;
                }
        }
        if (t->x) {
                cry_md5_finish(&t->md5, t->whole_md5);
                t->n_whole++;
                end_with(t, 0, 201);
        }
}

static int taker_run(struct upl_http *h, uint64_t timeout_usec)
{
        struct taker *t = container_of(h, struct taker, base);
        struct timespec until;

        take_body(t);
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += (long)MIN(timeout_usec, UINT64_C(50000)) * 1000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        (void)pthread_mutex_lock(&t->lock);
        if (!t->woken)
                (void)pthread_cond_timedwait(&t->changed, &t->lock, &until);
        t->woken = false;
        (void)pthread_mutex_unlock(&t->lock);
        return 0;
}

static void taker_wake(struct upl_http *h)
{
        struct taker *t = container_of(h, struct taker, base);

        (void)pthread_mutex_lock(&t->lock);
        t->woken = true;
        (void)pthread_cond_signal(&t->changed);
        (void)pthread_mutex_unlock(&t->lock);
}

static void taker_resume(struct upl_http *h, struct upl_exchange *x)
{
}

static void taker_free(struct upl_http *h)
{
}

static const struct upl_http_ops taker_ops = { taker_submit, taker_cancel, taker_resume,
                                               taker_run,    taker_wake,   taker_free };

/* --- a drive with faults --- */

struct drive {
        struct bth_source source;
        uint8_t *data;
        atomic_ullong read_bytes;
        uint64_t wrong_at_bytes; /* a bit there reads wrong, `wrongs` times */
        atomic_uint wrongs;
        uint64_t bad_at_bytes; /* cannot be read; UINT64_MAX: none */
        int bad;
};

static int drive_read(struct bth_source *source, uint64_t offset_bytes, void *buffer, size_t n)
{
        struct drive *d = container_of(source, struct drive, source);

        atomic_fetch_add(&d->read_bytes, n);
        if (d->bad_at_bytes - offset_bytes < n)
                return d->bad;
        memcpy(buffer, d->data + offset_bytes, n);
        if (d->wrong_at_bytes - offset_bytes < n && atomic_load(&d->wrongs) > 0) {
                atomic_fetch_sub(&d->wrongs, 1);
                ((uint8_t *)buffer)[d->wrong_at_bytes - offset_bytes] ^= 1;
        }
        return 0;
}

struct world {
        struct taker taker;
        struct drive drive;
        struct upl_budget *budget;
        struct upl_hasher *hasher;
        struct upl_credential *credential;
        struct upl_client *client;
        uint8_t md5[BTH_MD5_BYTES];
        bool unchecked;
};

static int setup(void **state)
{
        static const struct bth_source_ops ops = { .read = drive_read };
        struct world *w = calloc(1, sizeof *w);
        struct upl_client_options o = { .retry = { 1000, 1000, 60 * BTH_USEC_PER_SEC, 1000 } };
        struct cry_md5 md5;

        w->taker = (struct taker){ .base.ops = &taker_ops, .piece_bytes = 100000 };
        assert_int_equal(pthread_mutex_init(&w->taker.lock, NULL), 0);
        assert_int_equal(pthread_cond_init(&w->taker.changed, NULL), 0);
        w->drive.source = (struct bth_source){ &ops, LENGTH + 1000, 1, 1 };
        w->drive.bad_at_bytes = w->drive.wrong_at_bytes = UINT64_MAX;
        w->drive.data = malloc(LENGTH + 1000);
        for (uint64_t i = 0; i < LENGTH + 1000; i++)
                w->drive.data[i] = (uint8_t)(i * 31 + i / 65536);
        cry_md5_init(&md5);
        cry_md5_update(&md5, w->drive.data + 1000, LENGTH);
        cry_md5_finish(&md5, w->md5);
        assert_int_equal(upl_budget_new(6 * SLICE, &w->budget), 0);
        assert_int_equal(upl_hasher_new(&w->hasher), 0);
        assert_int_equal(upl_credential_new(UPL_CREDENTIAL_NONE, "a", NULL, &w->credential, NULL),
                         0);
        assert_int_equal(upl_endpoint_parse("http://h", true, &o.endpoint, NULL), 0);
        o.http = &w->taker.base;
        o.credential = w->credential;
        assert_int_equal(upl_client_new(&o, &w->client), 0);
        upl_endpoint_clear(&o.endpoint);
        *state = w;
        return 0;
}

static int teardown(void **state)
{
        struct world *w = *state;

        (void)upl_client_free(w->client);
        (void)upl_credential_free(w->credential);
        (void)upl_hasher_free(w->hasher);
        (void)upl_budget_free(w->budget);
        (void)pthread_cond_destroy(&w->taker.changed);
        (void)pthread_mutex_destroy(&w->taker.lock);
        free(w->drive.data);
        free(w);
        return 0;
}

/* Sends the content as one body. Returns the call's result; *ret_fault says what failed of ours. */
static int send_it(struct world *w, int *ret_fault)
{
        struct upl_stream_options o = { .content = &w->drive.source,
                                        .offset_bytes = 1000,
                                        .length_bytes = LENGTH,
                                        .md5 = w->md5,
                                        .client = w->client,
                                        .budget = w->budget,
                                        .hasher = w->hasher };
        _cleanup_call_ struct upl_call call = { 0 };
        struct upl_stream *s;
        int r;

        o.unchecked = w->unchecked;
        assert_int_equal(upl_request_init(&call.request, UPL_METHOD_PUT, "c", "b"), 0);
        assert_int_equal(upl_stream_new(&o, &s), 0);
        upl_stream_attach(s, &call);
        r = upl_client_call(w->client, &call, NULL);
        upl_stream_detach(s);
        *ret_fault = upl_stream_fault(s);
        (void)upl_stream_free(s);
        return r;
}

static uint64_t peak(struct world *w)
{
        struct upl_budget_state b;

        upl_budget_look(w->budget, &b);
        assert_int_equal(b.taken_bytes, 0);
        return b.peak_bytes;
}

static void test_a_long_body_arrives_whole(void **state)
{
        static const size_t pieces[] = { 1 << 18, 4096, 99999 };
        struct world *w = *state;
        int fault;

        for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
                w->taker.piece_bytes = pieces[i];
                assert_int_equal(send_it(w, &fault), 0);
                assert_int_equal(fault, 0);
                assert_int_equal(w->taker.n_whole, i + 1);
                assert_memory_equal(w->taker.whole_md5, w->md5, sizeof w->md5);
        }
        assert_int_equal(peak(w), UPL_STREAM_HELD_BYTES);
}

static void test_a_broken_connection_begins_again_at_the_drive(void **state)
{
        struct world *w = *state;
        int fault;

        w->taker.breaks = 3;
        w->taker.break_at_bytes = 7 * SLICE;
        assert_int_equal(send_it(w, &fault), 0);
        assert_int_equal(w->taker.n_attempts, 4);
        assert_int_equal(w->taker.n_whole, 1);
        assert_memory_equal(w->taker.whole_md5, w->md5, sizeof w->md5);
        /* Each attempt read what it sent, and no further than the ring. */
        assert_true(atomic_load(&w->drive.read_bytes) >= LENGTH + 3 * 6 * SLICE);
        assert_true(atomic_load(&w->drive.read_bytes) <= LENGTH + 3 * 12 * SLICE);
}

static void test_a_wrong_bit_is_read_again_and_never_ends_a_body(void **state)
{
        struct world *w = *state;
        int fault;

        w->drive.wrong_at_bytes = 5 * SLICE + 77;
        w->drive.wrongs = 1;
        assert_int_equal(send_it(w, &fault), 0);
        assert_int_equal(w->taker.n_attempts, 2);
        assert_int_equal(w->taker.n_whole, 1);
        assert_memory_equal(w->taker.whole_md5, w->md5, sizeof w->md5);
        w->drive.wrongs = 100;
        assert_int_equal(send_it(w, &fault), -EILSEQ);
        assert_int_equal(fault, -EILSEQ);
        assert_int_equal(w->taker.n_attempts, 4);
        assert_int_equal(w->taker.n_whole, 1);
        assert_int_equal(peak(w), UPL_STREAM_HELD_BYTES);
}

static void test_unchecked_the_service_is_the_judge(void **state)
{
        struct world *w = *state;
        int fault;

        w->unchecked = true;
        w->drive.wrong_at_bytes = 5 * SLICE + 77;
        w->drive.wrongs = 1;
        assert_int_equal(send_it(w, &fault), 0);
        assert_int_equal(w->taker.n_attempts, 1);
        assert_memory_not_equal(w->taker.whole_md5, w->md5, sizeof w->md5);
}

static void test_a_bad_sector_ends_it(void **state)
{
        struct world *w = *state;
        int fault;

        w->drive.bad_at_bytes = 9 * SLICE;
        w->drive.bad = -EIO;
        assert_int_equal(send_it(w, &fault), -EIO);
        assert_int_equal(fault, -EIO);
        w->drive.bad = -ENODEV;
        assert_int_equal(send_it(w, &fault), -ENODEV);
        assert_int_equal(fault, -ENODEV);
        assert_int_equal(w->taker.n_whole, 0);
        assert_int_equal(peak(w), UPL_STREAM_HELD_BYTES);
}

static void test_a_range_outside_is_refused(void **state)
{
        struct world *w = *state;
        struct upl_stream_options o = { .content = &w->drive.source,
                                        .offset_bytes = 1001,
                                        .length_bytes = LENGTH,
                                        .md5 = w->md5,
                                        .client = w->client,
                                        .budget = w->budget,
                                        .hasher = w->hasher };
        struct upl_stream *s = NULL;

        assert_int_equal(upl_stream_new(&o, &s), -EINVAL);
        o.length_bytes = 0;
        assert_int_equal(upl_stream_new(&o, &s), -EINVAL);
        assert_null(s);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_a_long_body_arrives_whole, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_broken_connection_begins_again_at_the_drive,
                                                setup, teardown),
                cmocka_unit_test_setup_teardown(
                        test_a_wrong_bit_is_read_again_and_never_ends_a_body, setup, teardown),
                cmocka_unit_test_setup_teardown(test_unchecked_the_service_is_the_judge, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_a_bad_sector_ends_it, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_range_outside_is_refused, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
