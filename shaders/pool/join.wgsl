// What a pool makes of two values, and the value that changes nothing: the larger and the lowest (MAX), or the sum and 0.

#if MAX
const NEUTRAL = x_element(#paste lowest);
#else
const NEUTRAL = x_element(0);
#endif

fn join(a: x_unit, b: x_unit) -> x_unit {
#if MAX
    return max(a, b);
#else
    return a + b;
#endif
}

fn join1(a: x_element, b: x_element) -> x_element {
    return join(x_unit(a), x_unit(b)).x;
}
