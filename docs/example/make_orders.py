#!/usr/bin/env python3
"""Writes orders.csv, 500 made-up orders: row names, dates in order, categories with a rare one, gaps, a sum.

python3 make_orders.py > orders.csv    (standard library alone; the same bytes every time)
"""

import datetime
import random

TOWNS = ["Aachen", "Bath", "Como", "Delft", "Evora"]


def main():
    rng = random.Random(20240229)
    numbers = rng.sample(range(10_000, 100_000), 500)
    print("order,ordered,shipped,town,channel,items,price,shipping,total,discount,status")
    for number in numbers:
        town = rng.choices(TOWNS, [30, 25, 20, 15, 10])[0]
        channel = rng.choices(["web", "shop", "phone"], [6, 3, 1] if town != "Bath" else [2, 6, 2])[0]
        items = min(9, 1 + int(rng.expovariate(0.6)))
        price = round(items * rng.lognormvariate(3.0, 0.5), 2)
        shipping = 0.0 if channel == "shop" or price > 150 else rng.choice([4.9, 6.9])
        day = datetime.date(2023, 1, 2) + datetime.timedelta(days=rng.randrange(720))
        shipped = day + datetime.timedelta(days=0 if channel == "shop" else min(14, int(rng.expovariate(0.35))))
        status = rng.choices(["shipped", "open", "returned"], [86, 10, 4])[0]
        cells = [
            f"ORD-{number}",
            day.isoformat(),
            "" if status == "open" else shipped.isoformat(),
            "NA" if rng.random() < 0.03 else town,
            channel,
            str(items),
            f"{price:.2f}",
            f"{shipping:.2f}",
            f"{price + shipping:.2f}",
            "" if rng.random() < 0.12 else str(rng.choice([0, 0, 0, 5, 10, 15])),
            status,
        ]
        print(",".join(cells))


if __name__ == "__main__":
    main()
