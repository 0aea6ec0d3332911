#include "tests/unit/test.h"

#include <zlib.h>

#include "base/map.h"
#include "services/api-gateway/gzip.h"

TEST(who_takes_gzip) {
    static const struct {
        const char *header;
        bool yes;
    } rows[] = {{NULL, false},
                {"", false},
                {"gzip", true},
                {"GZIP", true},
                {"gzip, deflate, br", true},
                {"deflate,gzip;q=0.5", true},
                {"br;q=1.0, gzip ; q = 0.2", true},
                {"gzip;q=0", false},
                {"gzip; q=0.000", false},
                {"gzip;q=0, *", false},
                {"*", true},
                {"*;q=0", false},
                {"identity", false},
                {"gzipped", false},
                {"x-gzip", false},
                {",,, ,;;=", false},
                {"gzip;", true}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        CHECK(gzip_accepted(rows[i].header) == rows[i].yes);
}

TEST(what_is_compressed_comes_back) {
    static const size_t lens[] = {0, 1, 1024, 65536, 3000000};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct hd_buf in = {0}, out = {0};
        for (size_t k = 0; k < lens[i]; k++)
            hd_buf_addc(&in, (char)(k % 7 ? 'a' + k % 23 : k * 2654435761u >> 13));
        CHECK_INT(gzip_add(&out, in.data, in.len), HD_OK);
        uint8_t *back = hd_calloc(1, lens[i] + 1);
        z_stream z = {
            .next_in = (Bytef *)out.data, .avail_in = (uInt)out.len, .next_out = back, .avail_out = (uInt)lens[i] + 1};
        CHECK_INT(inflateInit2(&z, 15 + 16), Z_OK);
        CHECK_INT(inflate(&z, Z_FINISH), Z_STREAM_END);
        CHECK_INT(z.total_out, lens[i]);
        CHECK(!lens[i] || memcmp(back, in.data, lens[i]) == 0);
        CHECK(lens[i] < 1024 || out.len < lens[i]);
        inflateEnd(&z);
        free(back);
        hd_buf_release(&in);
        hd_buf_release(&out);
    }
}

TEST_MAIN
