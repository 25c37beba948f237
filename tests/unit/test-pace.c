/* SPDX-License-Identifier: GPL-3.0-or-later */
/* When to send again, how many at once, how fast, and in how much memory: without a clock. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "base/time.h"
#include "uploader/budget.h"
#include "uploader/concurrency.h"
#include "uploader/hasher.h"
#include "uploader/limit.h"
#include "uploader/pool.h"
#include "uploader/retry.h"

#define SEC BTH_USEC_PER_SEC

static void test_failures_are_told_apart(void **state)
{
        static const struct {
                int result;
                unsigned status;
                const char *code;
                enum upl_failure failure;
                int error;
        } cases[] = {
                { 0, 201, "", UPL_FAILURE_NONE, 0 },
                { 0, 503, "ServerBusy", UPL_FAILURE_THROTTLED, -EAGAIN },
                { 0, 500, "OperationTimedOut", UPL_FAILURE_THROTTLED, -ETIMEDOUT },
                { 0, 500, "InternalError", UPL_FAILURE_TRANSIENT, -EIO },
                { 0, 502, "", UPL_FAILURE_TRANSIENT, -EIO },
                { 0, 429, "", UPL_FAILURE_THROTTLED, -EAGAIN },
                { 0, 401, "", UPL_FAILURE_CREDENTIALS, -EACCES },
                { 0, 403, "AuthenticationFailed", UPL_FAILURE_CREDENTIALS, -EACCES },
                { 0, 403, "AuthorizationPermissionMismatch", UPL_FAILURE_PERMANENT, -EACCES },
                { 0, 404, "BlobNotFound", UPL_FAILURE_PERMANENT, -ENOENT },
                { 0, 409, "BlobAlreadyExists", UPL_FAILURE_PERMANENT, -EEXIST },
                { 0, 409, "BlobImmutableDueToPolicy", UPL_FAILURE_PERMANENT, -EROFS },
                { 0, 409, "BlobArchived", UPL_FAILURE_PERMANENT, -EROFS },
                { 0, 412, "LeaseIdMissing", UPL_FAILURE_PERMANENT, -EBUSY },
                { 0, 412, "ConditionNotMet", UPL_FAILURE_PERMANENT, -ESTALE },
                { 0, 413, "RequestBodyTooLarge", UPL_FAILURE_PERMANENT, -EFBIG },
                { 0, 400, "Md5Mismatch", UPL_FAILURE_TRANSIENT, -EBADMSG },
                { 0, 400, "InvalidBlockList", UPL_FAILURE_PERMANENT, -EPROTO },
                { -ECONNRESET, 0, "", UPL_FAILURE_TRANSIENT, -ECONNRESET },
                { -EHOSTUNREACH, 0, "", UPL_FAILURE_TRANSIENT, -EHOSTUNREACH },
                { -ETIMEDOUT, 0, "", UPL_FAILURE_TRANSIENT, -ETIMEDOUT },
                { -EKEYREJECTED, 0, "", UPL_FAILURE_PERMANENT, -EKEYREJECTED },
                { -EIO, 0, "", UPL_FAILURE_PERMANENT, -EIO },
                /* A whole status that came with a broken body is no answer. */
                { -ECONNRESET, 201, "", UPL_FAILURE_TRANSIENT, -ECONNRESET },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_int_equal(upl_failure_of(cases[i].result, cases[i].status, cases[i].code),
                                 cases[i].failure);
                assert_int_equal(upl_failure_errno(cases[i].result, cases[i].status, cases[i].code),
                                 cases[i].error);
        }
}

static void test_waits_grow_with_full_jitter_up_to_a_total(void **state)
{
        struct upl_retry_policy p = { 1 * SEC, 8 * SEC, 100 * SEC, 30 * SEC };
        struct upl_retry r = { 0 };
        uint64_t now = 1000 * SEC, wait;
        static const uint64_t longest[] = { 1, 2, 4, 8, 8, 8 };

        for (size_t i = 0; i < ARRAY_SIZE(longest); i++) {
                struct upl_retry again = r;

                assert_true(upl_retry_next(&again, &p, UPL_FAILURE_TRANSIENT, 0, now, 0, &wait));
                assert_int_equal(wait, 0);
                assert_true(upl_retry_next(&r, &p, UPL_FAILURE_TRANSIENT, 0, now, longest[i] * SEC,
                                           &wait));
                assert_int_equal(wait, longest[i] * SEC);
                now += wait;
        }
        assert_false(upl_retry_next(&r, &p, UPL_FAILURE_TRANSIENT, 0, now + 100 * SEC, 0, &wait));
        r = (struct upl_retry){ 0 };
        assert_false(upl_retry_next(&r, &p, UPL_FAILURE_PERMANENT, 0, now, 0, &wait));
        assert_true(upl_retry_next(&r, &p, UPL_FAILURE_THROTTLED, 20 * SEC, now, 5, &wait));
        assert_int_equal(wait, 20 * SEC);
}

static void test_refused_credentials_wait_without_an_end(void **state)
{
        struct upl_retry_policy p = { 1 * SEC, 8 * SEC, 100 * SEC, 30 * SEC };
        struct upl_retry r = { 0 };
        uint64_t now = 1000 * SEC, wait;

        assert_true(upl_retry_next(&r, &p, UPL_FAILURE_CREDENTIALS, 0, now, SEC / 2, &wait));
        assert_int_equal(wait, SEC / 2);
        for (int i = 0; i < 1000; i++, now += wait) {
                assert_true(upl_retry_next(&r, &p, UPL_FAILURE_CREDENTIALS, 0, now, 1, &wait));
                assert_int_equal(wait, 30 * SEC);
        }
        assert_true(upl_retry_next(&r, &p, UPL_FAILURE_TRANSIENT, 0, now, 1, &wait));
        r = (struct upl_retry){ 0 };
        p.credentials_usec = UPL_RETRY_CREDENTIALS_NEVER;
        assert_true(upl_retry_next(&r, &p, UPL_FAILURE_CREDENTIALS, 0, now, 1, &wait));
        assert_false(upl_retry_next(&r, &p, UPL_FAILURE_CREDENTIALS, 0, now, 1, &wait));
}

static void test_retry_after(void **state)
{
        /* 2015-10-21 07:28:00 UTC */
        uint64_t then = UINT64_C(1445412480) * SEC;

        assert_int_equal(upl_retry_after_usec("7", 0), 7 * SEC);
        assert_int_equal(upl_retry_after_usec("99999999999", 0), UPL_RETRY_AFTER_MAX_USEC);
        assert_int_equal(upl_retry_after_usec("-1", 0), 0);
        assert_int_equal(upl_retry_after_usec(NULL, 0), 0);
        assert_int_equal(upl_retry_after_usec("Wed, 21 Oct 2015 07:28:00 GMT", then - 9 * SEC),
                         9 * SEC);
        assert_int_equal(upl_retry_after_usec("Wed, 21 Oct 2015 07:28:00 GMT", then + 1), 0);
        assert_int_equal(upl_retry_after_usec("Wed, 21 Oct 2015", 0), 0);
}

/* A service that gives `each` units a second to each request, up to `knee` of them. */
static void live(struct upl_concurrency *c, uint64_t *now, unsigned seconds, unsigned knee,
                 uint64_t each)
{
        for (unsigned i = 0; i < seconds; i++) {
                *now += SEC;
                upl_concurrency_done(c, MIN(c->limit, knee) * each);
                upl_concurrency_waited(c);
                upl_concurrency_step(c, *now);
        }
}

static void test_concurrency_grows_to_the_knee_and_not_far_beyond(void **state)
{
        struct upl_concurrency c;
        uint64_t now = SEC;

        upl_concurrency_init(&c, 1, 4, 64, now);
        live(&c, &now, 200, 24, 1000000);
        assert_true(c.limit >= 20 && c.limit <= 30);
        live(&c, &now, 400, 64, 1000000);
        assert_int_equal(c.limit, 64);
}

static void test_concurrency_halves_once_an_interval(void **state)
{
        struct upl_concurrency c;
        uint64_t now = SEC;

        upl_concurrency_init(&c, 2, 32, 64, now);
        upl_concurrency_throttled(&c, now + 1);
        upl_concurrency_throttled(&c, now + 2);
        assert_int_equal(c.limit, 16);
        for (unsigned i = 1; i < 10; i++)
                upl_concurrency_throttled(&c, now + 2 + i * 2 * SEC);
        assert_int_equal(c.limit, 2);
}

static void test_concurrency_stays_when_nobody_waits(void **state)
{
        struct upl_concurrency c;

        upl_concurrency_init(&c, 1, 8, 64, SEC);
        for (uint64_t i = 2; i < 50; i++) {
                upl_concurrency_done(&c, 1000);
                upl_concurrency_step(&c, i * SEC);
        }
        assert_int_equal(c.limit, 8);
}

static uint64_t pull(struct upl_limit *l, uint64_t *now, uint64_t until, uint64_t want)
{
        uint64_t sum = 0;

        while (*now < until) {
                uint64_t got = upl_limit_take(l, want, *now), wait;

                sum += got;
                if (got > 0)
                        continue;
                wait = upl_limit_wait_usec(l, *now);
                assert_true(wait > 0);
                *now += wait;
        }
        return sum;
}

static void test_bandwidth_cap_holds_and_changes(void **state)
{
        _cleanup_(upl_limit_freep) struct upl_limit *l = NULL;
        uint64_t now = SEC, sum;

        assert_int_equal(upl_limit_new(1000000, &l), 0);
        sum = pull(l, &now, 11 * SEC, 65536);
        assert_true(sum >= 9900000 && sum <= 10300000);
        upl_limit_set(l, 100000000);
        now = 11 * SEC;
        sum = pull(l, &now, 12 * SEC, 65536);
        assert_true(sum >= 98000000 && sum <= 126000000);
        upl_limit_set(l, 0);
        assert_int_equal(upl_limit_take(l, 1 << 30, now), 1 << 30);
        /* A cap below one chunk a second still gets there. */
        upl_limit_set(l, 100);
        now = 20 * SEC;
        sum = pull(l, &now, 20 * SEC + 1000 * SEC, 65536);
        assert_true(sum >= 90000 && sum <= 110000);
}

static void test_idle_time_is_no_burst(void **state)
{
        _cleanup_(upl_limit_freep) struct upl_limit *l = NULL;

        assert_int_equal(upl_limit_new(1000000, &l), 0);
        (void)upl_limit_take(l, 1, SEC);
        assert_true(upl_limit_take(l, UINT64_MAX, 1000 * SEC) <= 250000);
}

static void test_all_or_nothing(void **state)
{
        _cleanup_(upl_limit_freep) struct upl_limit *l = NULL;

        assert_int_equal(upl_limit_new(0, &l), 0);
        assert_true(upl_limit_take_all(l, UINT64_MAX, SEC));
        upl_limit_set(l, 1000000);
        assert_false(upl_limit_take_all(l, 1, SEC));
        assert_false(upl_limit_take_all(l, 200001, SEC + SEC / 5));
        assert_true(upl_limit_take_all(l, 200000, SEC + SEC / 5));
        assert_false(upl_limit_take_all(l, 1, SEC + SEC / 5));
}

struct taker {
        struct upl_budget *b;
        uint64_t bytes;
        int result;
};

static void *take(void *userdata)
{
        struct taker *t = userdata;

        t->result = upl_budget_take(t->b, t->bytes);
        return NULL;
}

static void wait_for_waiters(struct upl_budget *b, uint64_t n)
{
        struct upl_budget_state s;

        do {
                (void)usleep(100);
                upl_budget_look(b, &s);
        } while (s.waiting[UPL_WAIT_BUDGET] != n);
}

static void test_budget_is_kept_and_served_in_turn(void **state)
{
        _cleanup_(upl_budget_freep) struct upl_budget *b = NULL;
        struct taker large = { .bytes = 90 }, small = { .bytes = 5 };
        struct upl_budget_state s;
        pthread_t threads[2];

        assert_int_equal(upl_budget_new(100, &b), 0);
        large.b = small.b = b;
        assert_int_equal(upl_budget_take(b, 60), 0);
        assert_int_equal(pthread_create(&threads[0], NULL, take, &large), 0);
        wait_for_waiters(b, 1);
        /* There is room for the small one, but the large one came first. */
        assert_int_equal(pthread_create(&threads[1], NULL, take, &small), 0);
        wait_for_waiters(b, 2);
        upl_budget_give(b, 60);
        assert_int_equal(pthread_join(threads[0], NULL), 0);
        assert_int_equal(pthread_join(threads[1], NULL), 0);
        assert_int_equal(large.result, 0);
        assert_int_equal(small.result, 0);
        upl_budget_look(b, &s);
        assert_int_equal(s.taken_bytes, 95);
        assert_int_equal(s.peak_bytes, 95);
        assert_int_equal(s.waiting[UPL_WAIT_BUDGET], 0);
        assert_true(s.waited_usec[UPL_WAIT_BUDGET] > 0);
        upl_budget_give(b, 95);
        /* More than there is at all goes alone. */
        assert_int_equal(upl_budget_take(b, 500), 0);
        assert_int_equal(pthread_create(&threads[0], NULL, take, &small), 0);
        wait_for_waiters(b, 1);
        upl_budget_close(b);
        assert_int_equal(pthread_join(threads[0], NULL), 0);
        assert_int_equal(small.result, -ECANCELED);
        upl_budget_give(b, 500);
}

static void test_buffers_are_used_again_within_the_total(void **state)
{
        struct upl_budget *b;
        void *first, *second, *other;

        assert_int_equal(upl_pool_size(1), 4096);
        assert_int_equal(upl_pool_size(9000), 12288);
        assert_int_equal(upl_pool_size((4 << 20) + 1), 5 << 20);
        assert_int_equal(upl_budget_new(10 << 20, &b), 0);
        assert_int_equal(upl_budget_take_buffer(b, 4 << 20, &first), 0);
        memset(first, 1, 4 << 20);
        upl_budget_give_buffer(b, 4 << 20, first);
        assert_int_equal(upl_budget_take_buffer(b, 4 << 20, &second), 0);
        assert_ptr_equal(first, second);
        /* Another size is other memory; what is kept goes when there would be too much. */
        assert_int_equal(upl_budget_take_buffer(b, 5 << 20, &other), 0);
        assert_ptr_not_equal(other, second);
        upl_budget_give_buffer(b, 4 << 20, second);
        assert_int_equal(upl_budget_take(b, 3 << 20), 0);
        upl_budget_give(b, 3 << 20);
        for (uint64_t n = 1; n < (1 << 20); n = n * 3 / 2 + 1) {
                assert_int_equal(upl_budget_take_buffer(b, n, &first), 0);
                assert_int_equal((uintptr_t)first % 4096, 0);
                memset(first, 2, n);
                upl_budget_give_buffer(b, n, first);
        }
        upl_budget_give_buffer(b, 5 << 20, other);
        (void)upl_budget_free(b);
}

static void test_many_buffers_are_taken_in_one_turn(void **state)
{
        static const uint64_t bytes[] = { 4096, 70000, 1 << 20 };
        struct upl_budget_state s;
        struct upl_budget *b;
        void *buffers[3], *more;

        assert_int_equal(upl_budget_new(2 << 20, &b), 0);
        assert_int_equal(upl_budget_take_buffers(b, bytes, 3, buffers), 0);
        upl_budget_look(b, &s);
        assert_int_equal(s.taken_bytes, 4096 + 70000 + (1 << 20));
        assert_int_equal(upl_budget_try_buffer(b, 1 << 20, &more), -EAGAIN);
        assert_int_equal(upl_budget_try_buffer(b, 1 << 19, &more), 0);
        upl_budget_give_buffer(b, 1 << 19, more);
        for (size_t i = 0; i < 3; i++)
                upl_budget_give_buffer(b, bytes[i], buffers[i]);
        upl_budget_close(b);
        assert_int_equal(upl_budget_take_buffers(b, bytes, 3, buffers), -ECANCELED);
        assert_int_equal(upl_budget_try_buffer(b, 1, &more), -ECANCELED);
        upl_budget_look(b, &s);
        assert_int_equal(s.taken_bytes, 0);
        (void)upl_budget_free(b);
}

struct hashing {
        struct upl_hasher *hasher;
        uint8_t data[3][5000];
        uint8_t md5[3][BTH_MD5_BYTES];
        pthread_t thread;
};

static void *hash_three(void *userdata)
{
        struct hashing *h = userdata;
        struct cry_md5_job jobs[3];
        struct cry_md5 md5[3];

        for (size_t i = 0; i < 3; i++) {
                cry_md5_init(&md5[i]);
                jobs[i] = (struct cry_md5_job){ &md5[i], h->data[i], sizeof h->data[i] - i };
        }
        upl_hasher_expected(h->hasher, jobs, 3);
        for (size_t i = 0; i < 3; i++)
                cry_md5_finish(&md5[i], h->md5[i]);
        return NULL;
}

static void test_hashes_of_many_threads_are_made_together(void **state)
{
        static struct hashing all[9]; /* 27 jobs, more than lanes */
        uint8_t want[BTH_MD5_BYTES];
        struct upl_hasher *hasher;

        assert_int_equal(upl_hasher_new(&hasher), 0);
        for (size_t k = 0; k < ARRAY_SIZE(all); k++) {
                all[k].hasher = hasher;
                for (size_t i = 0; i < 3; i++)
                        memset(all[k].data[i], (int)(k * 3 + i), sizeof all[k].data[i]);
                upl_hasher_expect(hasher);
        }
        /* One more is expected and does not come: only then the last ones need not wait. */
        upl_hasher_expect(hasher);
        for (size_t k = 0; k < ARRAY_SIZE(all); k++)
                assert_int_equal(pthread_create(&all[k].thread, NULL, hash_three, &all[k]), 0);
        upl_hasher_expect_no_more(hasher);
        for (size_t k = 0; k < ARRAY_SIZE(all); k++)
                assert_int_equal(pthread_join(all[k].thread, NULL), 0);
        for (size_t k = 0; k < ARRAY_SIZE(all); k++)
                for (size_t i = 0; i < 3; i++) {
                        assert_int_equal(bth_digest_of(BTH_DIGEST_MD5, all[k].data[i],
                                                       sizeof all[k].data[i] - i, want),
                                         0);
                        assert_memory_equal(all[k].md5[i], want, sizeof want);
                }
        upl_hasher_md5(hasher, "abc", 3, want);
        (void)upl_hasher_free(hasher);
}

static void test_waits_are_named(void **state)
{
        for (enum upl_wait w = 0; w < _UPL_WAIT_MAX; w++)
                assert_non_null(upl_wait_to_string(w));
        assert_null(upl_wait_to_string(_UPL_WAIT_MAX));
        for (enum upl_failure f = 0; f < _UPL_FAILURE_MAX; f++)
                assert_non_null(upl_failure_to_string(f));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_failures_are_told_apart),
                cmocka_unit_test(test_waits_grow_with_full_jitter_up_to_a_total),
                cmocka_unit_test(test_refused_credentials_wait_without_an_end),
                cmocka_unit_test(test_retry_after),
                cmocka_unit_test(test_concurrency_grows_to_the_knee_and_not_far_beyond),
                cmocka_unit_test(test_concurrency_halves_once_an_interval),
                cmocka_unit_test(test_concurrency_stays_when_nobody_waits),
                cmocka_unit_test(test_bandwidth_cap_holds_and_changes),
                cmocka_unit_test(test_idle_time_is_no_burst),
                cmocka_unit_test(test_all_or_nothing),
                cmocka_unit_test(test_budget_is_kept_and_served_in_turn),
                cmocka_unit_test(test_buffers_are_used_again_within_the_total),
                cmocka_unit_test(test_many_buffers_are_taken_in_one_turn),
                cmocka_unit_test(test_hashes_of_many_threads_are_made_together),
                cmocka_unit_test(test_waits_are_named),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
