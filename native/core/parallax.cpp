#include "parallax.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

namespace facesdk::parallax {
namespace {

constexpr double kDegrees = 180.0 / 3.14159265358979323846;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Eye distances within which points of the mesh count for a depth (a standard deviation).
constexpr double kNear = 0.12;

constexpr int kIterations = 8;
constexpr double kStill = 2e-3;     // change of rho in a last step
constexpr double kHuber = 2;        // scales beyond which a residual counts less: of 14 % where there is noise alone
constexpr double kBeyond = 6;       // scales beyond which it counts for nothing
constexpr double kMedian = 1.1774;  // the median length of residuals of two dimensions, in their scale. Source: Rayleigh
constexpr double kLeastScale = 1e-3;           // eye distances

using Matrix3 = std::array<std::array<double, 3>, 3>;

double determinant(const Matrix3& m) {
  return m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) +
         m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
}

// The rotation next to m, by Newton's iteration; false where m is singular or mirrors.
// Source: Higham, Computing the polar decomposition, SIAM J. Sci. Stat. Comput. 7 (1986).
bool rotation_of(Matrix3& m) {
  for (int i = 0; i < 30; ++i) {
    const double det = determinant(m);
    if (!(det > 1e-12)) return false;
    Matrix3 next{};
    double change = 0;
    for (size_t r = 0; r < 3; ++r) {
      for (size_t c = 0; c < 3; ++c) {
        // The cofactor over the determinant is the transposed inverse.
        const size_t r1 = (r + 1) % 3, r2 = (r + 2) % 3, c1 = (c + 1) % 3, c2 = (c + 2) % 3;
        next[r][c] = (m[r][c] + (m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]) / det) / 2;
        change = std::max(change, std::abs(next[r][c] - m[r][c]));
      }
    }
    m = next;
    if (change < 1e-12) return true;
  }
  return false;
}

mesh::Point3 mean_of(const mesh::Points& points) {
  mesh::Point3 sum{0, 0, 0};
  for (const mesh::Point3& p : points) sum = {sum.x + p.x, sum.y + p.y, sum.z + p.z};
  return {sum.x / mesh::kPoints, sum.y / mesh::kPoints, sum.z / mesh::kPoints};
}

// The normal equations of N unknowns, the last of which is asked for.
template <int N>
struct Normal {
  double a[N][N] = {}, b[N] = {};

  // The lower half is what counts; whole rows make vectors.
  void add(const double* row, double value, double weight) {
    for (int i = 0; i < N; ++i) {
      const double scaled = weight * row[i];
      if (scaled == 0) continue;
      for (int j = 0; j < N; ++j) a[i][j] += scaled * row[j];
      b[i] += scaled * value;
    }
  }

  // Cholesky's way. own: what of the last unknown's squares no other unknown explains. False where there is no answer.
  bool solve(double* x, double& own) {
    double diagonal[N];
    for (int i = 0; i < N; ++i) diagonal[i] = a[i][i];
    for (int i = 0; i < N; ++i) {
      for (int j = 0; j <= i; ++j) {
        double sum = a[i][j];
        for (int k = 0; k < j; ++k) sum -= a[i][k] * a[j][k];
        if (i != j) {
          a[i][j] = sum / a[j][j];
        } else {
          if (!(sum > 1e-10 * diagonal[i])) return false;
          own = sum;
          a[i][i] = std::sqrt(sum);
        }
      }
    }
    for (int i = 0; i < N; ++i) {
      double sum = b[i];
      for (int k = 0; k < i; ++k) sum -= a[i][k] * x[k];
      x[i] = sum / a[i][i];
    }
    for (int i = N - 1; i >= 0; --i) {
      for (int k = i + 1; k < N; ++k) x[i] -= a[k][i] * x[k];
      x[i] /= a[i][i];
    }
    return std::isfinite(x[N - 1]);
  }
};

// One track in eye distances about the mean, and what is not explained of it.
struct Row {
  Point from, to;
  double depth;
  Point left{0, 0};
};

struct Model {
  std::array<double, 8> h{1, 0, 0, 0, 1, 0, 0, 0};
  std::array<double, 4> bent{};  // of (x x, 0), (y y, 0), (0, x x), (0, y y): with the homography's own all quadratics
  double rho = 0;
  double scale = 0, own = 0, change = 0;
  int used = 0;
};

// A place under the homography.
struct Seen {
  double x, y, w;
};
Seen seen(const std::array<double, 8>& h, Point p) {
  const double w = h[6] * p.x + h[7] * p.y + 1;
  return {(h[0] * p.x + h[1] * p.y + h[2]) / w, (h[3] * p.x + h[4] * p.y + h[5]) / w, w};
}

// What the model leaves of each row, and their scale; false where there is none.
bool look(std::vector<Row>& rows, std::vector<double>& lengths, Point shift, Model& model) {
  lengths.clear();
  const auto& q = model.bent;
  for (Row& row : rows) {
    const Seen p = seen(model.h, row.from);
    if (!(p.w > 0.1)) return false;
    const double xx = row.from.x * row.from.x, yy = row.from.y * row.from.y, away = model.rho * row.depth;
    row.left = {row.to.x - p.x - q[0] * xx - q[1] * yy - away * shift.x, row.to.y - p.y - q[2] * xx - q[3] * yy - away * shift.y};
    lengths.push_back(std::sqrt(row.left.x * row.left.x + row.left.y * row.left.y));
    if (!(lengths.back() < 1e3)) return false;
  }
  const auto middle = lengths.begin() + static_cast<std::ptrdiff_t>(lengths.size() / 2);
  std::nth_element(lengths.begin(), middle, lengths.end());
  model.scale = std::max(*middle / kMedian, kLeastScale);
  return true;
}

// One step of Gauss and Newton. N unknowns: the homography, the quadratics where N is 13, rho.
template <int N>
bool step(std::vector<Row>& rows, std::vector<double>& lengths, Point shift, Model& model) {
  if (!look(rows, lengths, shift, model)) return false;
  Normal<N> normal;
  model.used = 0;
  for (const Row& row : rows) {
    const double scales = std::sqrt(row.left.x * row.left.x + row.left.y * row.left.y) / model.scale;
    if (!(scales <= kBeyond)) continue;
    ++model.used;
    const double weight = scales <= kHuber ? 1 : kHuber / scales;
    const double x = row.from.x, y = row.from.y;
    const Seen p = seen(model.h, row.from);
    double across[N] = {x / p.w, y / p.w, 1 / p.w, 0, 0, 0, -p.x * x / p.w, -p.x * y / p.w};
    double down[N] = {0, 0, 0, x / p.w, y / p.w, 1 / p.w, -p.y * x / p.w, -p.y * y / p.w};
    if constexpr (N == 13) {
      across[8] = down[10] = x * x;
      across[9] = down[11] = y * y;
    }
    across[N - 1] = row.depth * shift.x;
    down[N - 1] = row.depth * shift.y;
    normal.add(across, row.left.x, weight);
    normal.add(down, row.left.y, weight);
  }
  double change[N];
  if (model.used < static_cast<int>(kLeast) || !normal.solve(change, model.own)) return false;
  for (size_t i = 0; i < 8; ++i) model.h[i] += change[i];
  if constexpr (N == 13) {
    for (size_t i = 0; i < 4; ++i) model.bent[i] += change[8 + i];
  }
  model.rho += change[N - 1];
  model.change = std::abs(change[N - 1]);
  return true;
}

template <int N>
bool fit(std::vector<Row>& rows, std::vector<double>& lengths, Point shift, Model& model) {
  for (int i = 0; i < kIterations; ++i) {
    if (!step<N>(rows, lengths, shift, model)) return false;
    if (i >= 2 && model.change < kStill) break;
  }
  return look(rows, lengths, shift, model);
}

// Standard error of the last unknown.
double error_of(const Model& model, int unknowns) {
  const double more = static_cast<double>(2 * model.used) / std::max(1, 2 * model.used - unknowns);
  return model.scale * std::sqrt(more / model.own);
}

}  // namespace

double eye_distance(const mesh::Points& face) {
  const FivePoints five = mesh::five_points(face);
  const double x = five[1].x - five[0].x, y = five[1].y - five[0].y;
  return std::sqrt(x * x + y * y);
}

double depth_at(const mesh::Points& face, Point at) {
  double depth = kNan;
  depths_at(face, {&at, 1}, {&depth, 1});
  return depth;
}

void depths_at(const mesh::Points& face, std::span<const Point> at, std::span<double> out) {
  const double size = eye_distance(face), mean = mean_of(face).z;
  const double reach = 2 * kNear * kNear * size * size;
  for (size_t i = 0; i < at.size(); ++i) {
    Normal<3> normal;
    for (const mesh::Point3& p : face) {
      const double dx = p.x - at[i].x, dy = p.y - at[i].y, squares = dx * dx + dy * dy;
      if (!(squares < 9 * reach)) continue;
      // (x, y, 1): the last is the plane's depth at the place itself. A little of every row keeps lines solvable.
      const double row[3] = {dx / size, dy / size, 1};
      normal.add(row, (p.z - mean) / size, std::exp(-squares / reach));
    }
    for (int k = 0; k < 2; ++k) normal.a[k][k] += 1e-3 * kNear * kNear * normal.a[2][2];
    double plane[3], own = 0;
    out[i] = normal.a[2][2] > 1e-6 && normal.solve(plane, own) ? plane[2] : kNan;
  }
}

Turn turn_between(const mesh::Points& before, const mesh::Points& after) {
  const Turn unknown{false, kNan, {kNan, kNan}};
  const mesh::Point3 a = mean_of(before), b = mean_of(after);
  Matrix3 m{};
  double squares = 0;
  for (size_t i = 0; i < mesh::kPoints; ++i) {
    const double p[3] = {before[i].x - a.x, before[i].y - a.y, before[i].z - a.z};
    const double q[3] = {after[i].x - b.x, after[i].y - b.y, after[i].z - b.z};
    for (size_t r = 0; r < 3; ++r) {
      for (size_t c = 0; c < 3; ++c) m[r][c] += q[r] * p[c];
      squares += p[r] * p[r];
    }
  }
  if (!(squares > 0 && std::isfinite(squares))) return unknown;
  double norm = 0;
  for (const auto& row : m) {
    for (const double v : row) norm += v * v;
  }
  norm = std::sqrt(norm);
  if (!(norm > 0 && std::isfinite(norm))) return unknown;
  Matrix3 r = m;
  for (auto& row : r) {
    for (double& v : row) v /= norm;
  }
  if (!rotation_of(r)) return unknown;
  // Umeyama 1991: the scale is the trace of R' M over the squares.
  double scale = 0;
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < 3; ++j) scale += r[i][j] * m[i][j];
  }
  scale /= squares;
  if (!(scale > 0.1 && scale < 10)) return unknown;
  return {true, std::acos(std::clamp(r[2][2], -1.0, 1.0)) * kDegrees, {scale * r[0][2], scale * r[1][2]}};
}

bool relief_of(std::span<const Point> anchors, std::span<const double> depths, std::span<const Point> points,
               double size, Point shift, Relief& out) {
  const size_t n = anchors.size();
  if (n < kLeast || depths.size() != n || points.size() != n) return false;
  if (!(size >= 1 && size < 1e5 && std::isfinite(shift.x) && std::isfinite(shift.y))) return false;
  Point a{0, 0}, b{0, 0};
  double depth = 0;
  const auto count = static_cast<double>(n);
  for (size_t i = 0; i < n; ++i) {
    a = {a.x + anchors[i].x / count, a.y + anchors[i].y / count};
    b = {b.x + points[i].x / count, b.y + points[i].y / count};
    depth += depths[i] / count;
  }
  if (!(std::abs(a.x) < 1e6 && std::abs(a.y) < 1e6 && std::abs(b.x) < 1e6 && std::abs(b.y) < 1e6)) return false;
  if (!(std::abs(depth) < 1e3)) return false;
  std::vector<Row> rows;
  rows.reserve(n);
  for (size_t i = 0; i < n; ++i) {
    rows.push_back({{(anchors[i].x - a.x) / size, (anchors[i].y - a.y) / size},
                    {(points[i].x - b.x) / size, (points[i].y - b.y) / size},
                    depths[i] - depth});
  }
  std::vector<double> lengths;
  lengths.reserve(n);
  Model model;
  if (!fit<9>(rows, lengths, shift, model)) return false;
  Model bent = model;
  if (!fit<13>(rows, lengths, shift, bent)) return false;
  out = {model.rho, bent.rho, error_of(model, 9), error_of(bent, 13), model.scale, model.used};
  return std::isfinite(out.rho) && std::isfinite(out.rho_bent) && std::isfinite(out.rho_error) &&
         std::isfinite(out.rho_bent_error);
}

}  // namespace facesdk::parallax
