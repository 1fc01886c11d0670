"""An IVR: a menu of three keys, an account number, a card number that nobody gets to hear.

    roomkit serve --local 0.0.0.0:10000 --app ivr:menu

answers a PBX with it (in this folder, on a machine with espeak-ng or flite to speak). Keys may be
pressed at any time: they stop what is being said, and those that come early are not asked for
again.
"""

from __future__ import annotations

from roomkit import Call

MENU = "For your balance, press one. To pay, press two. To leave, press zero."
ACCOUNT = "Please key in your account number of four digits."
CARD = "Now your card number, and the hash key."
BALANCES_EUR = {"1234": 17.50, "4711": 0.0}


async def menu(call: Call) -> None:
    for _ in range(3):
        match await call.key(10, prompt=MENU):
            case "1":
                await balance(call)
            case "2":
                await pay(call)
            case "0":
                break
    await call.say("Goodbye.")


async def balance(call: Call) -> None:
    account = await call.collect(4, prompt=ACCOUNT, retries=2)
    if not account:
        await call.say("I did not get that.")
    elif account.digits in BALANCES_EUR:
        await call.say(f"You owe {BALANCES_EUR[account.digits]:.2f} euros.")
    else:
        await call.say("There is no such account.")


async def pay(call: Call) -> None:
    # Masked: in no recording, no transcript and no log. Up to 19 digits, ended by the hash key.
    card = await call.collect(
        19, prompt=CARD, retries=1, first_timeout=10, between_timeout=5, masked=True
    )
    if card and luhn(card.digits):
        await call.say("Thank you. It has been paid.")
    else:
        await call.say("That is no card number.")


def luhn(digits: str) -> bool:
    """Whether the last digit fits the others (ISO/IEC 7812-1, annex B)."""
    if not digits.isdecimal():
        return False
    doubled = [sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(map(int, digits[-1::-2]))) % 10 == 0
