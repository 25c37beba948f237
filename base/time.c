/* SPDX-License-Identifier: GPL-3.0-or-later */
/* time - clocks, FILETIME and date texts. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/time.h"

/* Seconds between 1601-01-01 and 1970-01-01. */
#define FILETIME_EPOCH_SEC UINT64_C(11644473600)

static uint64_t now_usec(clockid_t clock)
{
        struct timespec ts;

        (void)clock_gettime(clock, &ts); /* cannot fail for the two clocks used here */
        return (uint64_t)ts.tv_sec * BTH_USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t bth_now_realtime_usec(void)
{
        return now_usec(CLOCK_REALTIME);
}

uint64_t bth_now_monotonic_usec(void)
{
        return now_usec(CLOCK_MONOTONIC);
}

uint64_t bth_filetime_from_usec(uint64_t realtime_usec)
{
        return (FILETIME_EPOCH_SEC * BTH_USEC_PER_SEC + realtime_usec) * 10;
}

uint64_t bth_filetime_from_time(int64_t sec, uint32_t nsec)
{
        const int64_t epoch = (int64_t)FILETIME_EPOCH_SEC;
        const int64_t max = INT64_MAX / 10000000 - epoch - 1;

        if (sec < -epoch)
                return 0;
        return (uint64_t)(MIN(sec, max) + epoch) * 10000000 + nsec / 100;
}

uint64_t bth_filetime_to_usec(uint64_t filetime)
{
        uint64_t usec = filetime / 10;
        const uint64_t epoch = FILETIME_EPOCH_SEC * BTH_USEC_PER_SEC;

        return usec > epoch ? usec - epoch : 0;
}

static struct tm split(uint64_t realtime_usec)
{
        time_t t = (time_t)(realtime_usec / BTH_USEC_PER_SEC);
        struct tm tm = { 0 };

        (void)gmtime_r(&t, &tm);
        return tm;
}

char *bth_time_iso8601(uint64_t realtime_usec, char *out)
{
        struct tm tm = split(realtime_usec);

        (void)snprintf(out, BTH_TIME_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d.%06uZ",
                       tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
                       tm.tm_sec, (unsigned)(realtime_usec % BTH_USEC_PER_SEC));
        return out;
}

/* strftime() and strptime() would take them from the locale. */
static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

char *bth_time_http(uint64_t realtime_usec, char *out)
{
        struct tm tm = split(realtime_usec);

        (void)snprintf(out, BTH_TIME_TEXT_MAX, "%s, %02d %s %04d %02d:%02d:%02d GMT",
                       days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900,
                       tm.tm_hour, tm.tm_min, tm.tm_sec);
        return out;
}

static unsigned milliseconds(uint64_t realtime_usec)
{
        return (unsigned)(realtime_usec % BTH_USEC_PER_SEC / 1000);
}

char *bth_time_log_name(uint64_t realtime_usec, char *out)
{
        struct tm tm = split(realtime_usec);

        (void)snprintf(out, BTH_TIME_TEXT_MAX, "%04d%02d%02d-%02d%02d%02d-%03u", tm.tm_year + 1900,
                       tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                       milliseconds(realtime_usec));
        return out;
}

char *bth_time_journal(uint64_t realtime_usec, char *out)
{
        struct tm tm = split(realtime_usec);

        (void)snprintf(out, BTH_TIME_TEXT_MAX, "%04d/%02d/%02d %02d:%02d:%02d.%03u",
                       tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
                       tm.tm_sec, milliseconds(realtime_usec));
        return out;
}

/* Digits stand where the form has '0', everything else as it is there. */
static bool has_form(const char *text, const char *form)
{
        for (; *form; text++, form++)
                if (*form == '0' ? *text < '0' || *text > '9' : *text != *form)
                        return false;
        return true;
}

static int digits(const char *text, size_t n)
{
        int v = 0;

        for (size_t i = 0; i < n; i++)
                v = v * 10 + (text[i] - '0');
        return v;
}

int bth_time_from_iso8601(const char *text, uint64_t *ret_usec)
{
        static const char form[] = "0000-00-00T00:00:00";
        const char *rest;
        uint64_t usec = 0, unit = BTH_USEC_PER_SEC;
        struct tm tm = { 0 }, again;
        time_t t;

        if (!has_form(text, form))
                return -EINVAL;
        rest = text + strlen(form);
        tm.tm_year = digits(text, 4) - 1900;
        tm.tm_mon = digits(text + 5, 2) - 1;
        tm.tm_mday = digits(text + 8, 2);
        tm.tm_hour = digits(text + 11, 2);
        tm.tm_min = digits(text + 14, 2);
        tm.tm_sec = digits(text + 17, 2);
        again = tm;
        t = timegm(&again); /* which moves the 31st of June into July */
        if (t < 0 || again.tm_mon != tm.tm_mon || again.tm_mday != tm.tm_mday ||
            again.tm_hour != tm.tm_hour || again.tm_min != tm.tm_min || again.tm_sec != tm.tm_sec)
                return -EINVAL;
        if (*rest == '.') {
                const char *first = ++rest;

                for (; *rest >= '0' && *rest <= '9'; rest++)
                        usec += (uint64_t)(*rest - '0') * (unit /= 10);
                if (rest == first)
                        return -EINVAL;
        }
        if (rest[0] != 'Z' || rest[1] != '\0')
                return -EINVAL;
        *ret_usec = (uint64_t)t * BTH_USEC_PER_SEC + usec;
        return 0;
}

static int name_at(const char *text, const char (*names)[4], int n)
{
        for (int i = 0; i < n; i++)
                if (memcmp(text, names[i], 3) == 0)
                        return i;
        return -1;
}

uint64_t bth_time_from_http(const char *text)
{
        /* "Wed, 09 Apr 2031 07:15:02 GMT" */
        struct tm tm = { 0 }, again;
        time_t t;

        if (!text || strlen(text) != 29 || name_at(text, days, 7) < 0 ||
            !has_form(text + 3, ", 00 ") || !has_form(text + 11, " 0000 00:00:00 GMT"))
                return 0;
        tm.tm_mday = digits(text + 5, 2);
        tm.tm_mon = name_at(text + 8, months, 12);
        tm.tm_year = digits(text + 12, 4) - 1900;
        tm.tm_hour = digits(text + 17, 2);
        tm.tm_min = digits(text + 20, 2);
        tm.tm_sec = MIN(digits(text + 23, 2), 59); /* a leap second */
        if (tm.tm_mon < 0)
                return 0;
        again = tm;
        t = timegm(&again); /* which moves the 30th of February into March */
        return t > 0 && again.tm_mday == tm.tm_mday && again.tm_hour == tm.tm_hour &&
                               again.tm_min == tm.tm_min
                       ? (uint64_t)t * BTH_USEC_PER_SEC
                       : 0;
}
