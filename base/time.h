/* SPDX-License-Identifier: GPL-3.0-or-later */
/* time - clocks, Windows FILETIME, and the date forms that files and headers use. Any thread. */
#pragma once

#include <time.h>

#include "base/macros.h"

#define BTH_USEC_PER_SEC UINT64_C(1000000)

/* Microseconds: CLOCK_REALTIME since 1970, CLOCK_MONOTONIC since boot. */
uint64_t bth_now_realtime_usec(void);
uint64_t bth_now_monotonic_usec(void);

/* FILETIME: 100 ns since 1601-01-01 UTC. Times before 1970 become 0 usec. */
uint64_t bth_filetime_from_usec(uint64_t realtime_usec) _const_;
/* Of a time before or after 1970 with 0 <= nsec < 10^9; what no FILETIME can hold (before 1601,
 * after the year 30828) becomes the nearest that can. */
uint64_t bth_filetime_from_time(int64_t sec, uint32_t nsec) _const_;
uint64_t bth_filetime_to_usec(uint64_t filetime) _const_;

#define BTH_TIME_TEXT_MAX 96 /* the compiler counts eleven digits for each number */
/* Each writes at most BTH_TIME_TEXT_MAX bytes with NUL and returns `out`. All UTC. */
char *bth_time_iso8601(uint64_t realtime_usec, char *out);  /* 2031-04-09T07:15:02.118000Z */
char *bth_time_http(uint64_t realtime_usec, char *out);     /* Wed, 09 Apr 2031 07:15:02 GMT */
char *bth_time_log_name(uint64_t realtime_usec, char *out); /* 20310409-071502-118, spec 5.6 */
char *bth_time_journal(uint64_t realtime_usec, char *out);  /* 2031/04/09 07:15:02.118, spec 1.2 */

/* The first of these forms back: a date, 'T', a time with or without a fraction, 'Z'; years 1970 to
 * 9999. Digits beyond microseconds are left out. Returns 0 or -EINVAL. */
int bth_time_from_iso8601(const char *text, uint64_t *ret_usec) _must_check_;
/* The time that bth_time_http() wrote, or another server: "Wed, 09 Apr 2031 07:15:02 GMT", exactly.
 * 0 when it is not of this form, not a date, or before 1970. Source: RFC 9110, IMF-fixdate. */
uint64_t bth_time_from_http(const char *text) _pure_;
