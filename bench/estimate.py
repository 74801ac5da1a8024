"""What the slices of a row say: medians, how far they lie apart, and how sure a ratio is."""

import statistics


def spread(values):
    """How far the middle half of the values lies apart, over their median."""
    if len(values) < 2:
        return 0
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / middle


def doubt(native, guest):
    """How far from the truth the ratio of the medians may well be (2 standard errors), over the ratio.

    Of the ratios of slices taken one after the other, since a machine that has grown slower has done so for both: the
    standard error of a median is 1.2533 sigma / sqrt(n), and the middle half of a normal distribution is 1.349 sigma wide."""
    ratios = [second / first for first, second in zip(native, guest)]
    if len(ratios) < 3:
        return float("inf")
    return 2 * 1.2533 * spread(ratios) / 1.349 / len(ratios) ** 0.5
