"""A lecture of five topics, written for measuring speech recognition: no numbers, few names."""

LECTURE = """
Good morning and welcome to this lecture. Today we will look at five questions that have little to
do with each other. The first one is how bread rises. Flour and water alone make a flat cake.
Yeast is a living thing, and it eats the sugar in the flour. While it eats, it gives off gas, and
the gas is caught in the dough. A warm kitchen makes the yeast work faster. A cold night in the
refrigerator makes it slow, but the taste becomes richer. Salt holds the yeast back, so never pour
salt directly on it.

The second question is why ships made of steel can float. A steel plate sinks at once. A ship is
mostly air, and the water that it pushes aside is heavier than the whole ship. When the cargo is
loaded, the ship sinks a little deeper. Lines painted on the hull show how deep it may lie. In
cold and salty seas the same ship floats higher, because the water is denser.

The third question is about birds. Many of them travel every autumn to warmer countries. They find
their way by the sun, by the stars, and by the magnetic field of the earth. Young birds that have
never made the journey still know the direction. Storms can blow them hundreds of miles off
course. Along the coast, volunteers count them and put small rings on their legs.

Let us come to the fourth question, which is money. A bank does not keep your coins in a box. It
lends them to people who want to build a house. If everybody came on the same day, the bank could
not pay them all. That is why governments promise to protect small savings. Trust is the real
currency, and it is lost much faster than it is won.

The last question is how a violin makes its sound. The bow pulls the string to the side until it
slips back. This happens so quickly that we hear a steady tone. The thin wooden bridge carries the
trembling into the body of the instrument. Inside, a small post connects the front and the back.
Without it the violin would sound weak and dull. Thank you for listening, and please write down
your questions for next week.
"""
