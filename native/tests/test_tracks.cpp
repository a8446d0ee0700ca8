// Gray pictures of a part of the frame, windows carried between them, and the tracks of a face.
#include "tracks.h"

#include <cmath>
#include <limits>

#include "frames.h"
#include "meshes.h"
#include "test.h"

using namespace facesdk;
using namespace facesdk::tracks;

namespace {

// A picture that repeats nowhere near, moved by (x, y).
int tone(double x, double y) {
  return static_cast<int>(std::lround(128 + 40 * std::sin(x / 5.3 + std::sin(y / 9)) + 35 * std::cos(y / 4.1 + x / 17) +
                                      25 * std::sin((x + y) / 3.2)));
}

test::Paint waves(double dx, double dy) {
  return [dx, dy](int x, int y, int) { return tone(x - dx, y - dy); };
}

Pyramid pyramid_of(int width, int height, double dx, double dy) {
  Pyramid pyramid;
  pyramid[0].resize(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) pyramid[0].row(y)[x] = static_cast<uint8_t>(tone(x - dx, y - dy));
  }
  build(pyramid);
  return pyramid;
}

}  // namespace

TEST(shrink_gray_reads_nothing_beyond_the_part) {
  for (const int channels : {1, 3}) {
    for (const int factor : {1, 2, 3, 4, 5, 8, 9}) {
      for (const test::Edge edge : {test::Edge::first_byte, test::Edge::last_byte}) {
        const int width = 7, height = 5;
        const test::Frame frame(width * factor, height * factor, channels, test::noise(), 0, edge);
        const Part part{0, 0, factor};
        Plane plane;
        plane.resize(width, height);
        shrink_gray(frame.image, part, plane);
        bool same = true;
        for (int y = 0; y < height; ++y) {
          for (int x = 0; x < width; ++x) {
            unsigned sum = 0, count = 0;
            for (int j = 0; j < factor; j += part.step()) {
              for (int i = 0; i < factor; i += part.step(), ++count) {
                const uint8_t* p = frame.image.data + static_cast<size_t>(y * factor + j) * frame.image.stride +
                                   static_cast<size_t>((x * factor + i) * channels);
                sum += channels == 1 ? p[0] : (77u * p[0] + 150u * p[1] + 29u * p[2]) >> 8;
              }
            }
            same = same && plane.row(y)[x] == (2 * sum + count) / (2 * count);
          }
        }
        CHECK(same);
      }
    }
  }
}

TEST(parts_map_to_the_frame_and_back) {
  for (const int factor : {1, 2, 3, 7, 25}) {
    const Part part{13, 5, factor};
    CHECK(part.count() >= 1 && part.count() <= 4 && (part.count() - 1) * part.step() < factor);
    const Point there = part.to_frame({3.25, -1.5}), back = part.from_frame(there);
    CHECK_NEAR(back.x, 3.25, 1e-12);
    CHECK_NEAR(back.y, -1.5, 1e-12);
  }
  CHECK_NEAR((Part{10, 20, 2}.to_frame({0, 0}).x), 10.5, 1e-12);
}

TEST(windows_are_found_where_they_went) {
  const Pyramid before = pyramid_of(150, 130, 0, 0);
  for (const Point shift : {Point{0, 0}, Point{0.5, -0.25}, Point{4.6, 3.1}}) {
    const Pyramid after = pyramid_of(150, 130, shift.x, shift.y);
    for (int y = 40; y < 100; y += 15) {
      for (int x = 40; x < 110; x += 15) {
        const Point start{x + 0.3, y - 0.4};
        const Carried carried = carry_and_return(before, after, start, start);
        CHECK(carried.found);
        CHECK_NEAR(carried.at.x, start.x + shift.x, 0.1);
        CHECK_NEAR(carried.at.y, start.y + shift.y, 0.1);
      }
    }
  }
}

TEST(nothing_is_carried_out_of_the_picture) {
  const Pyramid before = pyramid_of(60, 60, 0, 0), after = pyramid_of(60, 60, 0, 0);
  for (const Point p : {Point{0, 0}, Point{59, 59}, Point{-50, 20}, Point{20, 1e5}, Point{8, 30}, Point{30, 51}}) {
    CHECK(!carry(before, after, p, p).found);
  }
  CHECK(carry(before, after, {30, 30}, {30, 30}).found);
  CHECK(!carry(before, after, {30, 30}, {1e5, -1e5}).found);
  Pyramid small;
  small[0].resize(1, 1);
  build(small);
  CHECK(!carry(small, small, {0, 0}, {0, 0}).found);
}

TEST(a_face_keeps_its_tracks_where_they_go) {
  FaceTracks tracks;
  const test::Frame first(400, 380, 3, waves(0, 0)), second(400, 380, 3, waves(3.5, -2.25));
  CHECK(tracks.start(first.image, test::face(200, 190, 130)) >= 40);
  const size_t chosen = tracks.tracks().size();
  CHECK(tracks.follow(second.image, test::face(203, 188, 130)) >= chosen * 9 / 10);
  for (const Track& track : tracks.tracks()) {
    CHECK_NEAR(track.at.x - track.anchor.x, 3.5, 0.15);
    CHECK_NEAR(track.at.y - track.anchor.y, -2.25, 0.15);
    CHECK(std::isfinite(track.depth));
  }
}

TEST(eyes_and_mouth_have_no_tracks) {
  FaceTracks tracks;
  const mesh::Points face = test::face(200, 190, 130);
  const test::Frame frame(400, 380, 1, waves(0, 0));
  CHECK(tracks.start(frame.image, face) >= 40);
  const FivePoints five = mesh::five_points(face);
  for (const Track& track : tracks.tracks()) {
    for (const size_t eye : {0, 1}) {
      const double dx = track.at.x - five[eye].x, dy = track.at.y - five[eye].y;
      CHECK(dx * dx + dy * dy > 25);
    }
    CHECK(std::abs(track.at.x - 200) < 130 / 2.0 && std::abs(track.at.y - 190) < 130 / 2.0 * 1.3);
  }
}

TEST(other_sizes_and_numbers_that_are_none_end_the_tracks) {
  const test::Frame frame(400, 380, 3, waves(0, 0)), other(401, 380, 3, waves(0, 0));
  const mesh::Points face = test::face(200, 190, 130);
  FaceTracks tracks;
  const auto restart = [&] { CHECK(tracks.start(frame.image, face) >= 40); };
  restart();
  CHECK_EQ(tracks.follow(other.image, face), size_t{0});
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), 1e30, -1e6}) {
    restart();
    mesh::Points wrong = face;
    wrong[17].z = bad;
    CHECK_EQ(tracks.follow(frame.image, wrong), size_t{0});
    CHECK_EQ(tracks.start(frame.image, wrong), size_t{0});
  }
  // Three times as large, a spot, and out of the frame.
  for (const mesh::Points& wrong : {test::face(200, 190, 1400), test::face(200, 190, 8), test::face(9000, 190, 130)}) {
    restart();
    CHECK_EQ(tracks.follow(frame.image, wrong), size_t{0});
  }
  restart();
  tracks.reset();
  CHECK_EQ(tracks.follow(frame.image, face), size_t{0});
}

TEST(faces_at_and_over_the_border_are_looked_at_within_the_frame) {
  const test::Frame frame(200, 180, 3, waves(0, 0));
  FaceTracks tracks;
  for (const int x : {-60, 0, 60, 140, 200, 260}) {
    for (const int y : {-60, 0, 90, 180, 240}) {
      for (const double wide : {50.0, 130.0, 400.0, 3000.0}) {
        const mesh::Points face = test::face(x, y, wide);
        tracks.start(frame.image, face);
        tracks.follow(frame.image, face);
        bool within = true;
        for (const Track& t : tracks.tracks()) within = within && t.at.x > 0 && t.at.y > 0 && t.at.x < 200 && t.at.y < 180;
        CHECK(within);
      }
    }
  }
}

TEST(faces_of_one_tone_have_no_tracks) {
  FaceTracks tracks;
  for (const int level : {0, 128, 255}) {
    const test::Frame frame(300, 300, 3, test::constant(level));
    CHECK_EQ(tracks.start(frame.image, test::face(150, 150, 130)), size_t{0});
  }
}
