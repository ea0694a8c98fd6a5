/** Points and polygons on a plane. A point is [x, y]. */

/** Whether a point lies inside a polygon, given by its corners: a ray from the point crosses its sides an odd number of
 *  times. */
export function inside(corners, [x, y]) {
  let odd = false;
  corners.forEach(([ax, ay], number) => {
    const [bx, by] = corners[(number + 1) % corners.length];
    if (ay > y !== by > y && x < ax + ((bx - ax) * (y - ay)) / (by - ay)) odd = !odd;
  });
  return odd;
}

/** The number of the point nearest to a place, among those that are wanted; -1 if none is. */
export function nearest(points, [x, y], wanted) {
  let [found, least] = [-1, Infinity];
  points.forEach(([px, py], number) => {
    const distance = (px - x) ** 2 + (py - y) ** 2;
    if (distance < least && wanted(number)) [found, least] = [number, distance];
  });
  return found;
}
